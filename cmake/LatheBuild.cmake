# How a room becomes a library: one call per room, one place for flags.

add_library(lathe_options INTERFACE)
target_compile_features(lathe_options INTERFACE cxx_std_20)
target_include_directories(lathe_options INTERFACE
  $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include> $<INSTALL_INTERFACE:include>)
target_compile_options(lathe_options INTERFACE $<BUILD_INTERFACE:-Wall> $<BUILD_INTERFACE:-Wextra>
  $<BUILD_INTERFACE:-Wno-unused-parameter> $<BUILD_INTERFACE:-ffunction-sections>
  $<BUILD_INTERFACE:-fdata-sections>)
target_compile_definitions(lathe_options INTERFACE $<BUILD_INTERFACE:LATHE_VERSION="${PROJECT_VERSION}">)
if(LATHE_WERROR)
  target_compile_options(lathe_options INTERFACE -Werror)
endif()

find_program(LATHE_CCACHE ccache)
if(LATHE_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Precompiled headers need ccache told which differences do not matter.
  set(LATHE_LAUNCHER ${CMAKE_COMMAND} -E env
    CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${LATHE_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${LATHE_LAUNCHER})
  set(CMAKE_C_COMPILER_LAUNCHER ${LATHE_LAUNCHER})
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:SHELL:-Xclang\ -fno-pch-timestamp>)
endif()

# A binary that starts anywhere (glibc 2.36 or newer): no libstdc++ of the build machine at run time. Its size: LLVM, MLIR
# and the PTX compiler library together are 66.5 MB stripped with --gc-sections alone, 57.4 MB with identical functions
# folded (4.6 MB) and packed relative relocations (4.5 MB). Nothing here compares function addresses for identity.
add_link_options(-static-libstdc++ -static-libgcc -Wl,--gc-sections)
find_program(LATHE_LLD NAMES ld.lld-22 ld.lld lld)
if(LATHE_LLD AND CMAKE_CXX_COMPILER_ID MATCHES Clang)
  add_link_options(-fuse-ld=lld -Wl,-O2)
  if(NOT CMAKE_BUILD_TYPE STREQUAL Debug)
    add_link_options(-Wl,--icf=all -Wl,-z,pack-relative-relocs)
  endif()
endif()

# lathe_library(<room> SOURCES ... DEPS ...): library lathe_<room>, alias lathe::<room>.
function(lathe_library room)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(lathe_${room} STATIC ${ARG_SOURCES})
  add_library(lathe::${room} ALIAS lathe_${room})
  target_link_libraries(lathe_${room} PUBLIC lathe_options ${ARG_DEPS} PRIVATE ${ARG_PRIVATE_DEPS})
  set_target_properties(lathe_${room} PROPERTIES EXPORT_NAME ${room})
endfunction()

# For what is run about as often as compiled and spends its time in the rooms' libraries.
function(lathe_compile_fast target)
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O0>)
endfunction()

# lathe_test(<name> LABEL <folder> SOURCES ... DEPS ...): a GoogleTest executable, one CTest entry a test case.
function(lathe_test name)
  cmake_parse_arguments(ARG "" "LABEL;TIMEOUT" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE lathe_options ${ARG_DEPS} GTest::gtest GTest::gtest_main)
  lathe_compile_fast(${name})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60
    PROPERTIES LABELS ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT} SKIP_REGULAR_EXPRESSION "\\[  SKIPPED \\]")
endfunction()
