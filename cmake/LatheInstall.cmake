# Installation: the lathe binary, and what an application links to serve kernels: find_package(lathe) gives lathe::runtime,
# lathe::kernel_cache, lathe::support and lathe::reference. They need neither LLVM nor a CUDA toolkit.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(rooms support kernel_cache runtime reference)
foreach(room ${rooms})
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${room}/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/lathe/${room}
    FILES_MATCHING PATTERN "*.h" PATTERN "Jit.h" EXCLUDE PATTERN "device/emulator" EXCLUDE)
  install(TARGETS lathe_${room} EXPORT latheTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
endforeach()
# Of the emulator, its face; the interpreter behind it is nobody's business.
foreach(header Emulator Finding Counters Mix)
  install(FILES ${PROJECT_SOURCE_DIR}/runtime/device/emulator/${header}.h
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/lathe/runtime/device/emulator)
endforeach()
install(TARGETS lathe_options lathe_fmt EXPORT latheTargets)
install(EXPORT latheTargets NAMESPACE lathe:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/lathe)

file(WRITE ${PROJECT_BINARY_DIR}/latheConfig.cmake
  "include(CMakeFindDependencyMacro)\n"
  "find_dependency(Threads)\nfind_dependency(nlohmann_json)\nfind_dependency(fmt)\n"
  "include(\${CMAKE_CURRENT_LIST_DIR}/latheTargets.cmake)\n")
write_basic_package_version_file(${PROJECT_BINARY_DIR}/latheConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/latheConfig.cmake ${PROJECT_BINARY_DIR}/latheConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/lathe)

# The binary and the GPU tests: both run from wherever they are copied.
foreach(program lathe lathe_gpu_tests)
  if(TARGET ${program})
    install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
endforeach()
