//===- Image.h - Cubin, PTX, or damaged --------------------------------------------------------------===//
//
// The driver is given the address of an image without its size, so a truncated cubin makes it read past the
// end. This looks at the bytes first: a cubin's ELF tables must lie inside them, PTX must begin like PTX.
// Called by the CUDA backend before a module is loaded, and on the log of a module that the driver assembled.
//
//===----------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/Device.h"

#include <string>
#include <string_view>

namespace lathe::runtime {

/// What the image is. Throws DeviceError for an empty, truncated or foreign image, naming what is wrong with
/// it.
ImageKind checkImage(std::string_view image);

/// The line of an assembler's log that makes a kernel slow or wrong (a serialised WGMMA, an ignored
/// setmaxnreg: codes C7504, C7508, C7510 to C7512); empty when there is none.
std::string performanceFault(std::string_view log);

} // namespace lathe::runtime
