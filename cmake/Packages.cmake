# Debian packages, made by CPack (`./dev package`): one of each component, the server's with a systemd unit.
set(debian ${PROJECT_SOURCE_DIR}/deploy/debian)
# In a component of its own, and only for packages, since it names /usr.
install(FILES ${debian}/denoised.service DESTINATION lib/systemd/system COMPONENT systemd EXCLUDE_FROM_ALL)

set(CPACK_GENERATOR DEB)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL "")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGE_CONTACT "The Denoised authors <authors@denoised.invalid>")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)

# denoise_package(NAME COMPONENTS… SECTION S DESCRIPTION LINES [DEPENDS P] [SUGGESTS P] [SCRIPTS…]): beside what
# its programs link, which dpkg-shlibdeps finds.
macro(denoise_package name)
  cmake_parse_arguments(ARG "" "SECTION;DESCRIPTION;DEPENDS;SUGGESTS" "COMPONENTS;SCRIPTS" ${ARGN})
  foreach(component IN LISTS ARG_COMPONENTS)
    list(APPEND CPACK_COMPONENTS_ALL ${component})
    string(TOUPPER ${component} component)
    set(CPACK_COMPONENT_${component}_GROUP ${name})
  endforeach()
  string(TOUPPER ${name} group)
  set(CPACK_DEBIAN_${group}_PACKAGE_NAME ${name})
  set(CPACK_DEBIAN_${group}_PACKAGE_SECTION ${ARG_SECTION})
  set(CPACK_DEBIAN_${group}_DESCRIPTION "${ARG_DESCRIPTION}")
  set(CPACK_DEBIAN_${group}_PACKAGE_DEPENDS "${ARG_DEPENDS}")
  set(CPACK_DEBIAN_${group}_PACKAGE_SUGGESTS "${ARG_SUGGESTS}")
  set(CPACK_DEBIAN_${group}_PACKAGE_CONTROL_EXTRA "${ARG_SCRIPTS}")
endmacro()

denoise_package(denoised COMPONENTS server systemd SECTION net SUGGESTS "denoise, denoise-viewer"
  SCRIPTS ${debian}/postinst ${debian}/prerm ${debian}/postrm
  DESCRIPTION "server for diffusion models
Samples diffusion models for many callers at once, over gRPC: one call of the
denoiser carries steps of all of them.
.
With those libraries of LibTorch that it loads, a model of handwritten digits
to try it with, and a systemd unit, which is not enabled.")

denoise_package(denoise COMPONENTS cli SECTION net SUGGESTS denoised
  DESCRIPTION "command line of Denoised, a server for diffusion models
Draws samples, evaluates pictures' likelihood, loads and unloads models, and
measures a server under load.")

denoise_package(denoise-viewer COMPONENTS viewer SECTION web SUGGESTS denoised
  DESCRIPTION "web page of Denoised, a server for diffusion models
Shows chains while they are sampled, and lets one draw what they begin from.")

# A static library leaves it to its users to link what it was made with. gRPC's CMake package asks for its compiler.
denoise_package(libdenoise-dev COMPONENTS client SECTION libdevel
  DEPENDS "libabsl-dev, libgrpc++-dev, libprotobuf-dev, protobuf-compiler-grpc"
  DESCRIPTION "C++ client library of Denoised, a server for diffusion models
Headers, static libraries, the API's .proto, and what CMake's find_package and
pkg-config read.")

include(CPack)
