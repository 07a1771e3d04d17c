# `cmake --install build --component client`: headers, library, .proto, and what find_package(Denoise)
# and pkg-config read. No path of the build is in any of it, so that the tree may be moved.
include(CMakePackageConfigHelpers)

set(installed denoise_client denoise_testing)
set(DENOISE_DEPENDENCIES "find_dependency(absl)\nfind_dependency(Threads)")
set(DENOISE_PC_LIBS "-ldenoise_client")
set(DENOISE_PC_REQUIRES_STATIC "")
if(NOT BUILD_SHARED_LIBS)
  # A static library leaves it to its users to link what it was made with.
  list(APPEND installed denoise_proto)
  string(APPEND DENOISE_DEPENDENCIES
    "\nfind_dependency(Protobuf)\nfind_dependency(gRPC CONFIG)")
  string(APPEND DENOISE_PC_LIBS " -ldenoise_proto")
  set(DENOISE_PC_REQUIRES_STATIC ", absl_strings, grpc++, protobuf")
  string(APPEND DENOISE_PC_LIBS " -pthread")
endif()
set_target_properties(denoise_proto PROPERTIES EXPORT_NAME proto)

set(config_folder ${CMAKE_INSTALL_LIBDIR}/cmake/Denoise)

configure_package_config_file(DenoiseConfig.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/DenoiseConfig.cmake
  INSTALL_DESTINATION ${config_folder}
  NO_SET_AND_CHECK_MACRO)
# Before 1.0 a minor version may change what callers see.
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/DenoiseConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
# Relative to where the .pc file lies, as far up as the library folder is deep.
string(REGEX REPLACE "[^/]+" ".." up ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
set(DENOISE_PC_PREFIX "\${pcfiledir}/${up}")
configure_file(denoise-client.pc.in ${CMAKE_CURRENT_BINARY_DIR}/denoise-client.pc @ONLY)

install(TARGETS ${installed} EXPORT DenoiseTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT client
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT client)
install(DIRECTORY include/denoise DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT client)
install(EXPORT DenoiseTargets NAMESPACE Denoise:: DESTINATION ${config_folder} COMPONENT client)
install(FILES
  ${CMAKE_CURRENT_BINARY_DIR}/DenoiseConfig.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/DenoiseConfigVersion.cmake
  DESTINATION ${config_folder} COMPONENT client)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/denoise-client.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT client)
install(FILES ${PROJECT_SOURCE_DIR}/proto/denoise/v1/diffusion.proto
  DESTINATION ${CMAKE_INSTALL_DATADIR}/denoise/proto/denoise/v1 COMPONENT client)
denoise_install_docs(libdenoise-dev COMPONENT client)
