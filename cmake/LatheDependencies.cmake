# Libraries that others keep well. Everything is optional at run time except what is linked statically here.
find_package(Threads REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(fmt REQUIRED)

# Target lathe_fmt: fmt without its shared library, which a machine that only runs the binary may lack. Compiling its functions
# into every file costs seconds each, so support/Fmt.cpp holds them once; what must be instantiated differs between
# versions, so this is done for those that were tried.
add_library(lathe_fmt INTERFACE)
if(fmt_VERSION VERSION_GREATER_EQUAL 9.1 AND fmt_VERSION VERSION_LESS 10)
  target_include_directories(lathe_fmt SYSTEM INTERFACE
    $<TARGET_PROPERTY:fmt::fmt-header-only,INTERFACE_INCLUDE_DIRECTORIES>)
else()
  target_link_libraries(lathe_fmt INTERFACE fmt::fmt-header-only)
endif()
find_package(CLI11 2.1 REQUIRED)
if(LATHE_ENABLE_TESTS)
  find_package(GTest REQUIRED)
  include(GoogleTest)
endif()

# CUDA driver and NVRTC declarations only: both libraries are opened at run time.
find_path(LATHE_CUDA_INCLUDE cuda.h HINTS $ENV{CUDA_HOME}/include /usr/local/cuda/include
  "${PROJECT_SOURCE_DIR}/.deps/nvidia/cu13/include")

# PTX compiler library: from the toolkit or from the nvidia-nvptxcompiler wheel that scripts/setup.sh unpacks.
find_library(LATHE_NVPTXCOMPILER libnvptxcompiler_static.a HINTS $ENV{CUDA_HOME}/lib64 /usr/local/cuda/lib64
  "${PROJECT_SOURCE_DIR}/.deps/nvidia/cu13/lib" NO_CACHE)
find_path(LATHE_NVPTXCOMPILER_INCLUDE nvPTXCompiler.h HINTS $ENV{CUDA_HOME}/include /usr/local/cuda/include
  "${PROJECT_SOURCE_DIR}/.deps/nvidia/cu13/include" NO_CACHE)

# Target lathe_nvptxcompiler, where the library is there. Its constructors sit in .ctors sections, which lld keeps but
# never runs: the first call would crash. Renaming them to .init_array serves every linker. The library is C and leaves
# through longjmp alone, so its unwind tables (3.7 MB of the binary) go too.
if(LATHE_NVPTXCOMPILER AND LATHE_NVPTXCOMPILER_INCLUDE)
  find_program(LATHE_OBJCOPY NAMES objcopy llvm-objcopy-22 REQUIRED)
  set(LATHE_NVPTXCOMPILER_REPACKED "${PROJECT_BINARY_DIR}/libnvptxcompiler_repacked.a")
  if("${LATHE_NVPTXCOMPILER}" IS_NEWER_THAN "${LATHE_NVPTXCOMPILER_REPACKED}")
    execute_process(COMMAND ${LATHE_OBJCOPY} --rename-section .ctors=.init_array --remove-section .eh_frame
      --remove-section .rela.eh_frame "${LATHE_NVPTXCOMPILER}" "${LATHE_NVPTXCOMPILER_REPACKED}"
      COMMAND_ERROR_IS_FATAL ANY)
  endif()
  add_library(lathe_nvptxcompiler INTERFACE)
  target_include_directories(lathe_nvptxcompiler SYSTEM INTERFACE "${LATHE_NVPTXCOMPILER_INCLUDE}")
  target_compile_definitions(lathe_nvptxcompiler INTERFACE LATHE_HAVE_NVPTXCOMPILER)
  target_link_libraries(lathe_nvptxcompiler INTERFACE "${LATHE_NVPTXCOMPILER_REPACKED}" Threads::Threads
    ${CMAKE_DL_LIBS} m)
endif()

if(LATHE_ENABLE_COMPILER)
  find_package(MLIR REQUIRED CONFIG HINTS /usr/lib/llvm-22/lib/cmake/mlir)
  if(NOT LLVM_VERSION_MAJOR EQUAL 22)
    message(FATAL_ERROR "Lathe needs LLVM and MLIR 22, found ${LLVM_PACKAGE_VERSION} in ${LLVM_DIR}; "
      "install libmlir-22-dev or set MLIR_DIR")
  endif()
  list(APPEND CMAKE_MODULE_PATH "${LLVM_CMAKE_DIR}" "${MLIR_CMAKE_DIR}")
  include(TableGen)
  include(AddLLVM)
  include(AddMLIR)
  # Everything LLVM and MLIR comes from the static archives; libLLVM.so must never be mixed in.
  file(GLOB LATHE_MLIR_ARCHIVES "${LLVM_LIBRARY_DIR}/libMLIR*.a")
  file(GLOB LATHE_LLVM_ARCHIVES "${LLVM_LIBRARY_DIR}/libLLVM*.a")
  find_library(LATHE_ZLIB NAMES libz.a z REQUIRED)
  find_library(LATHE_ZSTD NAMES libzstd.a zstd REQUIRED)
  add_library(lathe_mlir INTERFACE)
  target_include_directories(lathe_mlir SYSTEM INTERFACE ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})
  target_link_libraries(lathe_mlir INTERFACE
    -Wl,--start-group ${LATHE_MLIR_ARCHIVES} ${LATHE_LLVM_ARCHIVES} -Wl,--end-group
    ${LATHE_ZLIB} ${LATHE_ZSTD} Threads::Threads ${CMAKE_DL_LIBS} rt m)
endif()
