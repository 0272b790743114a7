//===- KernelText.h - Kernels of the pattern as text --------------------------------------------------===//
//
// Writes paged attention as a module of the lathe dialect, with pieces that a test exchanges to leave the
// pattern at one place. Included by the frontend's tests.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/IR/LatheDialect.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Parser/Parser.h"

#include <map>
#include <string>

namespace lathe::test {

/// Pieces of the text by name; `{name}` in a piece stands for another piece.
struct KernelText {
  std::map<std::string, std::string> pieces = {
      {"B", "batch"},
      {"Q", "query"},
      {"H", "head"},
      {"T", "token"},
      {"K", "key"},
      {"V", "value"},
      {"queryTokens", "2"},
      {"heads", "16"},
      {"keyDim", "576"},
      {"valueDim", "512"},
      {"page", "64"},
      {"type", "bf16"},
      {"qDims", "{B}=?, {Q}={queryTokens}, {H}={heads}, {K}={keyDim}"},
      {"rows", "{B}=?, {T}=?, {K}={keyDim}"},
      {"scoreDims", "{B}=?, {Q}={queryTokens}, {H}={heads}, {T}=?"},
      {"lseDims", "{B}=?, {Q}={queryTokens}, {H}={heads}"},
      {"outDims", "{lseDims}, {V}={valueDim}"},
      {"arguments", R"(
  %q = lathe.input "q" : !lathe.array<{type}, {qDims}>
  %n = lathe.input "lengths" : !lathe.array<i32, {B}=?>
  %kv = lathe.paged "kv" page {page} table "table" lengths(%n : !lathe.array<i32, {B}=?>) : !lathe.array<{type}, {rows}>
  %scale = lathe.param "scale" : f32)"},
      {"contract", R"(
  %s = lathe.contract %q, %kv over ["{K}"] : !lathe.array<{type}, {qDims}>, !lathe.array<{type}, {rows}>
    -> !lathe.array<f32, {scoreDims}>)"},
      {"map", R"(
  %t = lathe.map (%x = %s : !lathe.array<f32, {scoreDims}>, %c = %scale : f32) -> !lathe.array<f32, {scoreDims}> {{
    %y = arith.mulf %c, %x : f32
    lathe.yield %y : f32
  }})"},
      {"mask", R"(
    %one = arith.constant 1 : i32
    %back = arith.subi %one, %query : i32
    %bound = arith.subi %length, %back : i32
    %keep = arith.cmpi slt, %token, %bound : i32)"},
      {"softmax", R"(
  %p, %lse = lathe.softmax %t over "{T}" where (%length = %n : !lathe.array<i32, {B}=?>) {{
    %token = lathe.index "{T}" : i32
    %query = lathe.index "{Q}" : i32{mask}
    lathe.yield %keep : i1
  }} : !lathe.array<f32, {scoreDims}> -> !lathe.array<f32, {scoreDims}>, !lathe.array<f32, {lseDims}>)"},
      {"unmasked", R"(
  %p, %lse = lathe.softmax %t over "{T}" : !lathe.array<f32, {scoreDims}>
    -> !lathe.array<f32, {scoreDims}>, !lathe.array<f32, {lseDims}>)"},
      {"slice", R"(
  %v = lathe.slice %kv "{K}" [0 to {valueDim}] as "{V}" : !lathe.array<{type}, {rows}>
    -> !lathe.array<{type}, {B}=?, {T}=?, {V}={valueDim}>)"},
      {"values", R"(
  %o = lathe.contract %p, %v over ["{T}"] : !lathe.array<f32, {scoreDims}>,
    !lathe.array<{type}, {B}=?, {T}=?, {V}={valueDim}> -> !lathe.array<f32, {outDims}>)"},
      {"outputs", R"(
  lathe.output "out"(%o : !lathe.array<f32, {outDims}>) as bf16 ["{B}", "{Q}", "{H}", "{V}"])"},
      {"logarithm", R"(
  lathe.output "lse"(%lse : !lathe.array<f32, {lseDims}>) as f32 ["{B}", "{H}", "{Q}"])"},
      {"kernel",
       "lathe.kernel @decode {{{arguments}{contract}{map}{softmax}{slice}{values}{outputs}{logarithm}\n}}"},
  };

  std::string &operator[](const std::string &name) { return pieces.at(name); }

  /// The text of a piece; braces that stay are written twice.
  std::string expand(const std::string &name) const {
    const std::string &piece = pieces.at(name);
    std::string text;
    for (size_t i = 0; i < piece.size(); ++i) {
      bool doubled = i + 1 < piece.size() && piece[i + 1] == piece[i];
      if ((piece[i] == '{' || piece[i] == '}') && doubled) {
        text += piece[i++];
      } else if (piece[i] == '{') {
        size_t end = piece.find('}', i);
        text += expand(piece.substr(i + 1, end - i - 1));
        i = end;
      } else {
        text += piece[i];
      }
    }
    return text;
  }
};

/// Parses the kernel; the module is owned by the caller. Null, with the diagnostic on stderr, where it breaks
/// a rule.
inline mlir::OwningOpRef<mlir::ModuleOp> parse(const KernelText &text, mlir::MLIRContext &context) {
  return mlir::parseSourceString<mlir::ModuleOp>(text.expand("kernel"), &context);
}

inline mlir::DialectRegistry dialects() {
  mlir::DialectRegistry registry;
  ir::registerLatheDialect(registry);
  return registry;
}

/// The module's first kernel.
inline ir::KernelOp kernelOf(mlir::ModuleOp module) { return *module.getOps<ir::KernelOp>().begin(); }

} // namespace lathe::test
