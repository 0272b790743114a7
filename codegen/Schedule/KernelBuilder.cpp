//===- KernelBuilder.cpp - Kernels with named arguments ----------------------------------------------===//
//
// See KernelBuilder.h.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/KernelBuilder.h"

using namespace mlir;

namespace lathe::codegen {

static Type argumentType(OpBuilder &b, const std::string &kind) {
  if (kind == "tensor_map")
    return tile::TensorMapType::get(b.getContext());
  if (kind == "pointer")
    return LLVM::LLVMPointerType::get(b.getContext(), 1);
  if (kind == "i64")
    return b.getI64Type();
  return kind == "f32" ? Type(b.getF32Type()) : Type(b.getI32Type());
}

KernelBuilder::KernelBuilder(OpBuilder &builder, Location loc, const KernelEntry &entry)
    : Emit{builder, loc} {
  SmallVector<Attribute> names;
  SmallVector<Type> types;
  for (const KernelArgument &argument : entry.arguments) {
    names.push_back(b.getStringAttr(argument.name));
    types.push_back(argumentType(b, argument.kind));
  }
  kernel = tile::KernelOp::create(b, loc, b.getStringAttr(entry.name), b.getArrayAttr(names),
                                  b.getI32IntegerAttr(entry.threads), b.getI32IntegerAttr(entry.sharedBytes),
                                  b.getI32IntegerAttr(0), b.getI32IntegerAttr(entry.cluster), StringAttr());
  Block &block = kernel.getBody().emplaceBlock();
  block.addArguments(types, SmallVector<Location>(types.size(), loc));
  for (auto [argument, value] : llvm::zip(entry.arguments, block.getArguments()))
    arguments[argument.name] = value;
  b.setInsertionPointToStart(&block);
}

void KernelBuilder::nameScratch(StringRef name) { kernel.setScratch(name); }

Value KernelBuilder::enterRole(Region &region) {
  Block &block = region.emplaceBlock();
  Value index = block.addArgument(i32(), loc);
  b.setInsertionPointToStart(&block);
  return index;
}

void KernelBuilder::syncAll(int cluster) {
  if (cluster > 1)
    tile::SyncClusterOp::create(b, loc);
  else
    tile::SyncCtaOp::create(b, loc);
}

void KernelBuilder::finish() {
  tile::ReturnOp::create(b, loc);
  b.setInsertionPointAfter(kernel);
}

Value loadI32(Emit &e, Value array, Value index) {
  return e.load(e.i32(), e.at(array, e.wide(e.mul(index, 4))));
}

void storeI32(Emit &e, Value value, Value array, Value index) {
  e.store(value, e.at(array, e.wide(e.mul(index, 4))));
}

static Value product(KernelBuilder &k, Value index, StringRef stride) {
  return k.mul(k.wide(index), k[stride]);
}

Value outOffset(KernelBuilder &k, Value sequence, Value row, int heads) {
  Value token = k.divu(row, heads), head = k.sub(row, k.mul(token, heads));
  return k.add(k.add(product(k, sequence, "out_stride_batch"), product(k, token, "out_stride_query")),
               product(k, head, "out_stride_head"));
}

Value lseOffset(KernelBuilder &k, Value sequence, Value row, int heads) {
  Value token = k.divu(row, heads), head = k.sub(row, k.mul(token, heads));
  return k.add(k.add(product(k, sequence, "lse_stride_batch"), product(k, token, "lse_stride_query")),
               product(k, head, "lse_stride_head"));
}

std::vector<KernelArgument> outputArguments() {
  return {{"pointer", "out"},          {"i64", "out_stride_batch"}, {"i64", "out_stride_query"},
          {"i64", "out_stride_head"},  {"pointer", "lse"},          {"i64", "lse_stride_batch"},
          {"i64", "lse_stride_query"}, {"i64", "lse_stride_head"},  {"pointer", "partial_out"},
          {"pointer", "partial_lse"}};
}

} // namespace lathe::codegen
