//===- AssembleTest.cpp - The chain of assemblers ------------------------------------------------------===//
//
// Every assembler of this machine accepts the good samples and makes us refuse the bad ones, with a message
// that names kernel, rule and numbers and with a reproducer on disk. The real tools run; nothing here needs a
// GPU.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Target/Assemble.h"

#include "EnvironmentGuard.h"
#include "PtxSamples.h"
#include "lathe/codegen/Target/Assemblers.h"
#include "lathe/codegen/Target/Process.h"
#include "lathe/support/Error.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <thread>

namespace lathe::codegen {

namespace fs = std::filesystem;

/// "nvptxcompiler" and "ptxas", as far as they are here.
static std::vector<std::string> availableAssemblers() {
  std::vector<std::string> names;
  if (makeNvptxCompiler())
    names.push_back("nvptxcompiler");
  if (makePtxas())
    names.push_back("ptxas");
  return names;
}

static std::string compileErrorOf(const std::string &ptx) {
  try {
    assemble(ptx, "sm_90a");
  } catch (const CompileError &error) {
    return error.what();
  }
  return "";
}

static void expectContains(const std::string &text, std::initializer_list<const char *> parts) {
  for (const char *part : parts)
    EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' is not in: " << text;
}

static size_t entriesOf(const fs::path &directory) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(directory), fs::directory_iterator()));
}

/// One run of each test for each assembler; skipped where there is none.
class Assemblers : public testing::Test {
protected:
  void SetUp() override {
    names = availableAssemblers();
    if (names.empty())
      GTEST_SKIP() << "neither the PTX compiler library nor ptxas of CUDA 12.8 or newer is here";
  }
  TemporaryDirectory dumps;
  EnvironmentGuard dumpDirectory{"LATHE_DUMP_DIR", dumps.path().string()};
  std::vector<std::string> names;
};

TEST_F(Assemblers, AcceptAndReportTheSameNumbers) {
  std::string ptx = samples::header() + samples::tiny("small", 256) + samples::tiny("large", 4096);
  std::map<std::string, int> registers;
  for (const std::string &name : names) {
    EnvironmentGuard forced("LATHE_ASSEMBLER", name);
    Assembled result = assemble(ptx, "sm_90a");
    EXPECT_EQ(result.cubin.substr(1, 3), "ELF");
    EXPECT_EQ(result.assembler.substr(0, name.size() + 1), name + " ");
    EXPECT_EQ(result.assembler, chosenAssembler());
    ASSERT_EQ(result.resources.size(), 2u);
    EXPECT_EQ(result.resources["small"].staticSharedBytes, 256) << result.log;
    EXPECT_EQ(result.resources["large"].staticSharedBytes, 4096) << result.log;
    for (const auto &[kernel, resources] : result.resources) {
      EXPECT_GT(resources.registers, 0);
      EXPECT_EQ(registers.emplace(kernel, resources.registers).first->second, resources.registers)
          << name << " and " << names[0] << " disagree about " << kernel;
      EXPECT_EQ(resources.spillBytes + resources.stackBytes, 0);
    }
  }
  EXPECT_EQ(entriesOf(dumps.path()), 0u) << "a good kernel leaves no reproducer";
}

TEST_F(Assemblers, RefuseSpills) {
  for (const std::string &name : names) {
    EnvironmentGuard forced("LATHE_ASSEMBLER", name);
    expectContains(compileErrorOf(samples::hungry()),
                   {"kernel hungry", "must not spill", "bytes spill stores", "24 registers", "stack frame",
                    dumps.path().c_str()});
  }
}

TEST_F(Assemblers, RefuseStackFrames) {
  for (const std::string &name : names) {
    EnvironmentGuard forced("LATHE_ASSEMBLER", name);
    expectContains(compileErrorOf(samples::stacky()),
                   {"kernel stacky", "must not need a stack frame", "64 bytes"});
  }
}

TEST_F(Assemblers, RefuseIgnoredRegisterBudgets) {
  for (const std::string &name : names) {
    EnvironmentGuard forced("LATHE_ASSEMBLER", name);
    expectContains(compileErrorOf(samples::ignoredBudget()),
                   {"kernel ignored", "setmaxnreg must not be ignored", "C7508"});
  }
}

TEST_F(Assemblers, RefuseSerialisedWgmma) {
  for (const std::string &name : names) {
    EnvironmentGuard forced("LATHE_ASSEMBLER", name);
    expectContains(compileErrorOf(samples::serialised()),
                   {"kernel serialised", "WGMMA must not be serialised"});
  }
}

TEST_F(Assemblers, SyntaxErrorsNameTheLine) {
  std::string ptx = samples::header() + samples::tiny("broken", 64);
  ptx.replace(ptx.find("mov.u32"), 7, "movv.u32");
  for (const std::string &name : names) {
    EnvironmentGuard forced("LATHE_ASSEMBLER", name);
    expectContains(compileErrorOf(ptx), {"broken", "line 9", "movv", "sm_90a", dumps.path().c_str()});
  }
}

TEST_F(Assemblers, ReproducerHoldsPtxLogAndCommand) {
  EnvironmentGuard forced("LATHE_ASSEMBLER", names[0]);
  ASSERT_NE(compileErrorOf(samples::stacky()), "");
  ASSERT_EQ(entriesOf(dumps.path()), 1u);
  fs::path reproducer = fs::directory_iterator(dumps.path())->path();
  EXPECT_EQ(readBytes(reproducer / "kernel.ptx"), samples::stacky());
  expectContains(readBytes(reproducer / "reproduce.sh"),
                 {"ptxas", "--gpu-name=sm_90a", "--opt-level=3", "--verbose", "--suppress-debug-info"});
  expectContains(readBytes(reproducer / "log.txt"), {"64 bytes stack frame"});
}

TEST_F(Assemblers, WorkConcurrently) {
  std::string ptx = samples::header() + samples::tiny("shared", 256);
  for (const std::string &name : names) {
    EnvironmentGuard forced("LATHE_ASSEMBLER", name);
    std::vector<std::string> cubins(4);
    std::vector<std::thread> threads;
    for (std::string &cubin : cubins)
      threads.emplace_back([&] { cubin = assemble(ptx, "sm_90a").cubin; });
    for (std::thread &thread : threads)
      thread.join();
    for (const std::string &cubin : cubins)
      EXPECT_EQ(cubin, cubins[0]);
    EXPECT_FALSE(cubins[0].empty());
  }
}

TEST_F(Assemblers, TemporaryFilesVanish) {
  TemporaryDirectory here;
  EnvironmentGuard temporary("TMPDIR", here.path().string());
  for (const std::string &name : names) {
    EnvironmentGuard forced("LATHE_ASSEMBLER", name);
    assemble(samples::header() + samples::tiny("clean", 64), "sm_90a");
    EXPECT_NE(compileErrorOf("no PTX at all"), "");
  }
  EXPECT_EQ(entriesOf(here.path()), 0u);
}

TEST(AssemblerChoice, DriverGetsPtxAndCounts) {
  EnvironmentGuard forced("LATHE_ASSEMBLER", "driver");
  EXPECT_EQ(chosenAssembler(), "driver");
  Assembled result = assemble(samples::serialised(), "sm_90a");
  EXPECT_EQ(result.assembler, "driver");
  EXPECT_TRUE(result.cubin.empty());
  EXPECT_EQ(result.resources["serialised"].wgmmaCount, 4);
  EXPECT_EQ(result.resources["serialised"].registers, 0);
}

TEST(AssemblerChoice, UnknownNamesAreRefused) {
  EnvironmentGuard forced("LATHE_ASSEMBLER", "nvjitlink");
  EXPECT_THROW(chosenAssembler(), UserError);
  EXPECT_THROW(assemble(samples::hungry(), "sm_90a"), UserError);
}

/// A ptxas that only tells a version: proves which one is taken, without a toolkit.
static void writeFakeTool(const fs::path &path, const std::string &says) {
  fs::create_directories(path.parent_path());
  writeBytes(path, "#!/bin/sh\n" + says + "\n");
  fs::permissions(path, fs::perms::owner_all);
}

TEST(AssemblerChoice, OldPtxasIsRefusedWithItsVersion) {
  TemporaryDirectory tools;
  writeFakeTool(tools.path() / "ptxas", "echo Cuda compilation tools, release 12.4, V12.4.131");
  EnvironmentGuard path("PATH", tools.path().string());
  EnvironmentGuard forced("LATHE_ASSEMBLER", "ptxas");
  try {
    chosenAssembler();
    FAIL() << "ptxas 12.4 cannot read PTX 8.7";
  } catch (const UserError &error) {
    expectContains(error.what(), {"12.4", "12.8"});
  }
}

TEST(AssemblerChoice, PathComesBeforeCudaHome) {
  TemporaryDirectory tools;
  writeFakeTool(tools.path() / "path" / "ptxas", "echo release 12.9, V12.9.1");
  writeFakeTool(tools.path() / "home" / "bin" / "ptxas", "echo release 13.9, V13.9.1");
  EnvironmentGuard forced("LATHE_ASSEMBLER", "ptxas");
  EnvironmentGuard home("CUDA_HOME", tools.path() / "home");
  {
    EnvironmentGuard path("PATH", tools.path() / "path");
    EXPECT_EQ(chosenAssembler(), "ptxas 12.9");
  }
  EnvironmentGuard path("PATH", tools.path() / "nothing");
  EXPECT_EQ(chosenAssembler(), "ptxas 13.9");
}

TEST(AssemblerChoice, FailingPtxasIsACompileError) {
  TemporaryDirectory tools;
  writeFakeTool(tools.path() / "ptxas", "[ \"$1\" = --version ] && echo release 13.0 && exit; kill -9 $$");
  EnvironmentGuard path("PATH", tools.path().string() + ":/usr/bin:/bin");
  EnvironmentGuard forced("LATHE_ASSEMBLER", "ptxas");
  EnvironmentGuard dump("LATHE_DUMP_DIR", tools.path() / "dump");
  expectContains(compileErrorOf(samples::stacky()), {"ptxas 13.0", "stacky", "exit code 137"});
}

TEST(AssemblerChoice, UnwritableDumpDirectoryDoesNotHideTheError) {
  TemporaryDirectory tools;
  writeFakeTool(tools.path() / "ptxas",
                "[ \"$1\" = --version ] && echo release 13.0 && exit; echo bad error; exit 1");
  writeBytes(tools.path() / "file", "not a directory");
  EnvironmentGuard path("PATH", tools.path().string());
  EnvironmentGuard forced("LATHE_ASSEMBLER", "ptxas");
  EnvironmentGuard dump("LATHE_DUMP_DIR", tools.path() / "file" / "below");
  expectContains(compileErrorOf(samples::stacky()), {"bad error", "no reproducer could be written"});
}

TEST(Disassemble, PrefersNvdisasmAndGivesItTheCubin) {
  TemporaryDirectory tools;
  writeFakeTool(tools.path() / "cuobjdump", "echo dump $1; /bin/cat \"$2\"");
  writeFakeTool(tools.path() / "nvdisasm", "echo nvdisasm; /bin/cat \"$1\"");
  EnvironmentGuard path("PATH", tools.path().string());
  EXPECT_EQ(disassemble("bytes"), "nvdisasm\nbytes");
  EXPECT_THROW(disassemble(""), UserError);
  writeFakeTool(tools.path() / "nvdisasm", "echo no cubin; exit 3");
  EXPECT_THROW(disassemble("bytes"), CompileError);
}

TEST(Disassemble, FallsBackToCuobjdump) {
  TemporaryDirectory tools;
  EnvironmentGuard path("PATH", tools.path().string()), home("CUDA_HOME", tools.path().string()),
      other("CUDA_PATH", tools.path().string());
  if (findTool("nvdisasm"))
    GTEST_SKIP() << "a toolkit in its usual place has nvdisasm, which comes first";
  writeFakeTool(tools.path() / "cuobjdump", "echo dump $1; /bin/cat \"$2\"");
  EXPECT_EQ(disassemble("bytes"), "dump --dump-sass\nbytes");
}

TEST(Process, OutputIsWholeAndNeedsNoShell) {
  TemporaryDirectory tools;
  fs::path odd = tools.path() / "a 'b' $c";
  writeFakeTool(
      odd, "i=0; while [ $i -lt 2000 ]; do echo line $i of a long output; i=$((i+1)); done; echo \"$1\" >&2");
  ProcessResult result = runProcess({odd, "x; exit 9"});
  EXPECT_EQ(result.exitCode, 0);
  EXPECT_EQ(std::count(result.output.begin(), result.output.end(), '\n'), 2001);
  EXPECT_TRUE(result.output.ends_with("\nx; exit 9\n"));
  EXPECT_THROW(runProcess({tools.path() / "absent"}), CompileError);
}

} // namespace lathe::codegen
