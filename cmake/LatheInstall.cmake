# Installation: the runtime and its headers, the lathe binary.
include(GNUInstallDirs)
foreach(room support dsl kernel_cache runtime reference)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${room}/ DESTINATION include/lathe/${room} FILES_MATCHING PATTERN "*.h")
endforeach()
if(TARGET lathe)
  install(TARGETS lathe RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
