#include "lathe/runtime/device/emulator/Program.h"

#include "lathe/runtime/device/emulator/ControlFlow.h"
#include "lathe/runtime/device/emulator/Decoder.h"

#include <fmt/format.h>

#include <algorithm>

using namespace lathe::runtime::emulator;

static constexpr uint32_t sharedLimitBytes = 1 << 20; ///< Of declared variables, so that offsets stay small.

std::string Program::registerName(uint32_t reg) const {
  if (reg < firstRegister || reg - firstRegister >= declared.size())
    return "_";
  return ptx::registerName(kernel->registers[declared[reg - firstRegister]]);
}

static uint32_t alignUp(uint32_t value, uint32_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

/// Variables with a size first, dynamic shared memory behind them.
static void layOutShared(DecodeContext &context) {
  uint32_t end = reservedSharedBytes, alignment = 16;
  std::vector<std::string_view> dynamic;
  for (const auto *variables : {&context.module.shared, &context.kernel.shared})
    for (const ptx::Variable &variable : *variables) {
      if (variable.dynamic) {
        alignment = std::max(alignment, variable.alignment);
        dynamic.push_back(variable.name);
        continue;
      }
      end = alignUp(end, std::max(variable.alignment, 1u));
      context.sharedOffsets[variable.name] = end;
      end += variable.bytes;
      if (end > sharedLimitBytes)
        ptx::refuse(context.kernel.line, "declared shared memory must fit a CTA",
                    fmt::format("{} bytes", end));
    }
  context.program.sharedStaticBytes = end - reservedSharedBytes;
  context.program.dynamicOffset = alignUp(end, alignment);
  for (std::string_view name : dynamic)
    context.sharedOffsets[name] = context.program.dynamicOffset;
}

static Instr decodeOne(DecodeContext &context, const ptx::Instruction &in) {
  Decoder decoder(context, in);
  for (auto family : {decodeMove, decodeInteger, decodeFloat, decodePacked, decodeConvert, decodeCompare,
                      decodeControl, decodeShuffle, decodeMemory, decodeAtomic, decodeSync, decodeMbarrier,
                      decodeBulk, decodeCopy, decodeCache, decodeMatrix, decodeMma, decodeWgmma})
    if (family(decoder))
      return decoder.finish(context.program.operands);
  decoder.refuse("the instruction must be one that the emulator knows", std::string(in.opcode));
}

/// Numbers registers anew, so that nothing is kept of those that are only declared.
static void numberRegisters(Program &program, size_t declared) {
  std::vector<uint32_t> numberOf(declared + firstRegister, sinkRegister);
  auto number = [&](Value &value) {
    if (value.constant || value.reg < firstRegister)
      return;
    uint32_t &known = numberOf[value.reg];
    if (known == sinkRegister) {
      known = program.registers++;
      program.declared.push_back(value.reg - firstRegister);
    }
    value.reg = value.row = known;
  };
  for (Instr &instr : program.code) {
    for (int i = 0; i < instr.results + instr.sources; ++i)
      number(const_cast<Value &>(instr.ops[i])); // The arrays are the program's own.
    if (instr.guarded)
      number(instr.guard);
  }
}

static void markTracked(Program &program) {
  program.ofWgmma.assign(program.registers, false);
  for (uint32_t pc : program.matrixInstructions) {
    const Instr &instr = program.code[pc];
    for (int i = 0; i < instr.results + instr.sources; ++i)
      if (const Value &value = instr.ops[i]; !value.constant && value.kind == ptx::RegisterClass::Bits32)
        program.ofWgmma[value.reg] = true;
  }
  program.ofWgmma[sinkRegister] = program.ofWgmma[constantRegister] = false;
  for (Instr &instr : program.code)
    for (int i = 0; i < instr.results + instr.sources; ++i)
      instr.tracked = instr.tracked || program.ofWgmma[instr.ops[i].reg];
  for (uint32_t pc : program.matrixInstructions)
    program.code[pc].tracked = false; // It has rules of its own.
}

std::shared_ptr<const Program> lathe::runtime::emulator::decode(std::shared_ptr<const ptx::Module> module,
                                                                const ptx::Kernel &kernel,
                                                                std::shared_ptr<const Notes> notes) {
  static const KernelNotes nothing;
  auto program = std::make_shared<Program>();
  program->name = kernel.name;
  program->module = std::move(module);
  program->notes = std::move(notes);
  program->kernel = &kernel;
  auto found = program->notes->kernels.find(kernel.name);
  program->kernelNotes = found == program->notes->kernels.end() ? &nothing : &found->second;
  program->constantPredicates = {0, ~uint32_t(0)};

  DecodeContext context{*program->module, kernel, *program, {}, {}};
  layOutShared(context);
  for (const ptx::Instruction &in : kernel.body) {
    if (in.words.front() == "wgmma" && in.words.size() > 1 && in.words[1] == "mma_async")
      program->matrixInstructions.push_back(uint32_t(program->code.size()));
    program->code.push_back(decodeOne(context, in));
    program->lines.push_back({in.line, in.sourceLine});
  }
  ptx::Instruction end;
  end.opcode = "ret";
  end.words = {"ret"};
  end.line = kernel.body.empty() ? kernel.line : kernel.body.back().line;
  program->code.push_back(decodeOne(context, end));
  program->lines.push_back({end.line, 0});

  numberRegisters(*program, kernel.registers.size());
  const ControlFlow flow = buildControlFlow(*program);
  setMeetings(*program, flow);
  assignRows(*program, flow);
  markTracked(*program);
  return program;
}
