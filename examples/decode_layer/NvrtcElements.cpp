//===- NvrtcElements.cpp - Norm, rotation and sum on the GPU ------------------------------------------===//
//
// Plain CUDA C++ without headers, compiled once a process: a CTA for each row. They are small beside the
// layer's other kernels and written to be read.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Elements.h"
#include "Shape.h"

#include "lathe/reference/AttentionReference.h"
#include "lathe/reference/Nvrtc.h"

using namespace lathe;
using namespace lathe::examples;
using runtime::Device;
using runtime::Function;
using runtime::Stream;

static constexpr unsigned threads = 256; // As the source says.

static constexpr const char *source = R"cuda(
typedef unsigned short bf16;
constexpr int threads = 256;

__device__ float toFloat(bf16 bits) { return __uint_as_float(unsigned(bits) << 16); }
// To the nearest, ties to even. NaN does not come here.
__device__ bf16 toBf16(float value) {
  const unsigned bits = __float_as_uint(value);
  return bf16((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
__device__ long long slotOf(const int *slots) { return slots ? slots[blockIdx.x] : blockIdx.x; }

extern "C" __global__ void __launch_bounds__(threads)
norm_rows(const bf16 *in, const bf16 *gain, bf16 *out, const int *slots, long long inStride,
         long long outStride, int width, float epsilon) {
  in += blockIdx.x * inStride;
  out += slotOf(slots) * outStride;
  float squares = 0;
  for (int i = threadIdx.x; i < width; i += threads)
    squares += toFloat(in[i]) * toFloat(in[i]);
  for (int distance = 16; distance; distance /= 2)
    squares += __shfl_xor_sync(0xffffffffu, squares, distance);
  __shared__ float warps[threads / 32];
  if (threadIdx.x % 32 == 0)
    warps[threadIdx.x / 32] = squares;
  __syncthreads();
  float sum = 0;
  for (int warp = 0; warp < threads / 32; ++warp)
    sum += warps[warp];
  const float factor = rsqrtf(sum / width + epsilon);
  for (int i = threadIdx.x; i < width; i += threads)
    out[i] = toBf16(toFloat(in[i]) * factor * toFloat(gain[i]));
}

// Angles in double: a float knows 100,000 radians to a hundredth.
extern "C" __global__ void __launch_bounds__(threads)
rotate_rows(const bf16 *in, bf16 *out, const int *positions, const int *slots, long long inStride,
       long long inHeadStride, long long outStride, long long outHeadStride, int heads, int width,
       double base) {
  in += blockIdx.x * inStride;
  out += slotOf(slots) * outStride;
  const int half = width / 2, position = positions[blockIdx.x];
  for (int pair = threadIdx.x; pair < heads * half; pair += threads) {
    const int head = pair / half, i = pair % half;
    double sine, cosine;
    sincos(position * pow(base, -2.0 * i / width), &sine, &cosine);
    const bf16 *from = in + head * inHeadStride + i;
    bf16 *to = out + head * outHeadStride + i;
    const float a = toFloat(from[0]), b = toFloat(from[half]), s = float(sine), c = float(cosine);
    to[0] = toBf16(a * c - b * s);
    to[half] = toBf16(b * c + a * s);
  }
}

extern "C" __global__ void __launch_bounds__(threads)
add_rows(const bf16 *a, const bf16 *b, bf16 *out, long long count) {
  const long long i = (long long)blockIdx.x * threads + threadIdx.x;
  if (i < count)
    out[i] = toBf16(toFloat(a[i]) + toFloat(b[i]));
}
)cuda";

namespace {
class NvrtcElements final : public Elements {
public:
  explicit NvrtcElements(Device &device)
      : device_(device),
        module_(device.load(reference::referenceCubin(source, "layer_elements.cu", device.properties()))),
        norm_(module_->function("norm_rows", 0)), rotate_(module_->function("rotate_rows", 0)),
        add_(module_->function("add_rows", 0)) {}
  std::string name() const override { return "NVRTC"; }
  bool onDevice() const override { return true; }

  void norm(const NormCall &call, Stream stream) const override {
    NormCall c = call;
    float epsilon = float(normEpsilon);
    void *arguments[] = {&c.in, &c.gain, &c.out, &c.slots, &c.inStride, &c.outStride, &c.width, &epsilon};
    launch(norm_, c.rows, arguments, stream);
  }
  void rotate(const RotateCall &call, Stream stream) const override {
    RotateCall c = call;
    double base = ropeBase;
    void *arguments[] = {&c.in,        &c.out,           &c.positions, &c.slots, &c.inStride, &c.inHeadStride,
                         &c.outStride, &c.outHeadStride, &c.heads,     &c.width, &base};
    launch(rotate_, c.rows, arguments, stream);
  }
  void add(const AddCall &call, Stream stream) const override {
    AddCall c = call;
    void *arguments[] = {&c.a, &c.b, &c.out, &c.count};
    launch(add_, (c.count + threads - 1) / threads, arguments, stream);
  }

private:
  void launch(Function function, int64_t ctas, void **arguments, Stream stream) const {
    if (ctas > 0)
      device_.launch(function, {.gridX = unsigned(ctas), .threads = threads}, arguments, stream);
  }

  Device &device_;
  std::unique_ptr<runtime::Module> module_;
  Function norm_, rotate_, add_;
};
} // namespace

std::unique_ptr<Elements> lathe::examples::nvrtcElements(Device &device) {
  if (!reference::nvrtcAvailable())
    return nullptr;
  return std::make_unique<NvrtcElements>(device);
}
