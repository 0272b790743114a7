//===- Fmt.cpp - The functions of fmt, once ----------------------------------------------------------===//
//
// fmt as a part of this library: its definitions, and the templates that its headers declare to be
// instantiated elsewhere or only declare. Empty where fmt is used header-only (cmake/LatheDependencies.cmake
// chooses).
//
//===--------------------------------------------------------------------------------------------------===//
#include <fmt/format.h>

#ifndef FMT_HEADER_ONLY
#include <fmt/format-inl.h>

FMT_BEGIN_NAMESPACE
namespace detail {

template locale_ref::locale_ref(const std::locale &locale);
template std::locale locale_ref::get<std::locale>() const;
template thousands_sep_result<char> thousands_sep_impl<char>(locale_ref locale);
template char decimal_point_impl<char>(locale_ref locale);

namespace dragonbox {
template decimal_fp<float> to_decimal<float>(float value) noexcept;
template decimal_fp<double> to_decimal<double>(double value) noexcept;
} // namespace dragonbox

} // namespace detail
FMT_END_NAMESPACE
#endif
