//===- CublasProducts.cpp - Plain matrix products by cuBLAS -------------------------------------------===//
//
// Five functions of libcublas, opened at run time and declared here after cublas_api.h and library_types.h of
// CUDA 12 (the same in 13). cuBLAS counts columns first, so it computes out' = weights' · rows'.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Products.h"

#include "lathe/support/Error.h"
#include "lathe/support/SharedLibrary.h"

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::examples;
using runtime::Device;
using runtime::DevicePtr;
using runtime::Stream;

namespace {
/// Types of cublas_api.h: cublasHandle_t is a pointer, all others are enumerations.
struct Cublas {
  using Handle = void *;
  static constexpr int success = 0;                        ///< CUBLAS_STATUS_SUCCESS.
  static constexpr int plain = 0, transposed = 1;          ///< CUBLAS_OP_N, CUBLAS_OP_T.
  static constexpr int bf16 = 14, f32 = 0;                 ///< CUDA_R_16BF, CUDA_R_32F.
  static constexpr int computeF32 = 68, anyAlgorithm = -1; ///< CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT.

  int (*create)(Handle *) = nullptr;
  int (*destroy)(Handle) = nullptr;
  int (*setStream)(Handle, void *stream) = nullptr;
  int (*setWorkspace)(Handle, void *workspace, size_t bytes) = nullptr;
  int (*gemm)(Handle, int aOperation, int bOperation, int m, int n, int k, const void *alpha, const void *a,
              int aType, int aStride, long long aPartStride, const void *b, int bType, int bStride,
              long long bPartStride, const void *beta, void *c, int cType, int cStride, long long cPartStride,
              int parts, int computeType, int algorithm) = nullptr;
  SharedLibrary shared; ///< Behind the functions, which opening it finds.

  explicit Cublas(const std::string &path)
      : shared(SharedLibrary::open(path.empty() ? cudaLibraryPaths({"libcublas.so.13", "libcublas.so.12"})
                                                : std::vector{path},
                                   [this](SharedLibrary &opened) {
                                     opened.find(create, "cublasCreate_v2");
                                     opened.find(destroy, "cublasDestroy_v2");
                                     opened.find(setStream, "cublasSetStream_v2");
                                     opened.find(setWorkspace, "cublasSetWorkspace_v2");
                                     opened.find(gemm, "cublasGemmStridedBatchedEx");
                                   })) {}
};

constexpr size_t workspaceBytes = size_t(32) << 20; // What cuBLAS takes on Hopper by default.

class CublasProducts final : public Products {
public:
  CublasProducts(Device &device, const Cublas &cublas) : cublas_(cublas), workspace_(device, workspaceBytes) {
    check(cublas_.create(&handle_), "cublasCreate");
  }
  ~CublasProducts() override { cublas_.destroy(handle_); }
  CublasProducts(const CublasProducts &) = delete;
  CublasProducts &operator=(const CublasProducts &) = delete;

  std::string name() const override { return cublas_.shared.path(); }
  bool onDevice() const override { return true; }
  void multiply(const Product &product, Stream stream) const override;

private:
  static void check(int status, const char *what) {
    if (status != Cublas::success)
      throw DeviceError({what, "cuBLAS must succeed", fmt::format("status {}", status),
                         "see cublasStatus_t in the documentation of cuBLAS"});
  }

  Cublas cublas_;
  runtime::Buffer workspace_; ///< Its own would be allocated inside a capture.
  Cublas::Handle handle_ = nullptr;
};
} // namespace

// NOLINTBEGIN(performance-no-int-to-ptr): cuBLAS takes addresses as pointers.
void CublasProducts::multiply(const Product &p, Stream stream) const {
  check(cublas_.setStream(handle_, stream.handle), "cublasSetStream");
  check(cublas_.setWorkspace(handle_, reinterpret_cast<void *>(workspace_.get()), workspaceBytes),
        "cublasSetWorkspace");
  const float one = 1, zero = 0;
  check(cublas_.gemm(handle_, Cublas::transposed, Cublas::plain, p.outColumns, p.count, p.columns, &one,
                     reinterpret_cast<const void *>(p.weights), Cublas::bf16, p.columns,
                     int64_t(p.outColumns) * p.columns, reinterpret_cast<const void *>(p.rows), Cublas::bf16,
                     int(p.rowStride), p.rowPartStride, &zero, reinterpret_cast<void *>(p.out),
                     p.outType == Dtype::F32 ? Cublas::f32 : Cublas::bf16, int(p.outStride), p.outPartStride,
                     p.parts, Cublas::computeF32, Cublas::anyAlgorithm),
        "cublasGemmStridedBatchedEx");
}
// NOLINTEND(performance-no-int-to-ptr)

std::unique_ptr<Products> lathe::examples::cublasProducts(Device &device, const std::string &library) {
  const Cublas cublas(library);
  if (!cublas.shared)
    return nullptr;
  return std::make_unique<CublasProducts>(device, cublas);
}
