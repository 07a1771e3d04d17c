# denoise_install_docs(PACKAGE COMPONENT NAME [PROGRAM WHAT-IT-IS]): licence and copyright, into share/doc/PACKAGE. Where
# PACKAGE is a program too, its manual page, made of its --help by the target `man`, which is there where help2man is.
find_program(HELP2MAN help2man)
if(HELP2MAN)
  add_custom_target(man)
endif()

function(denoise_install_docs package)
  cmake_parse_arguments(ARG "" "COMPONENT;PROGRAM" "" ${ARGN})
  install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/deploy/debian/copyright
    DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${package} COMPONENT ${ARG_COMPONENT})
  if(HELP2MAN AND ARG_PROGRAM)
    set(page ${CMAKE_BINARY_DIR}/man/${package}.1)
    add_custom_command(OUTPUT ${page}.gz
      COMMAND ${HELP2MAN} --no-info --locale=C.UTF-8 --name=${ARG_PROGRAM} --output=${page} $<TARGET_FILE:${package}>
      COMMAND gzip --best --no-name --force ${page}
      DEPENDS ${package} VERBATIM)
    add_custom_target(man-${package} DEPENDS ${page}.gz)
    add_dependencies(man man-${package})
    install(FILES ${page}.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT ${ARG_COMPONENT} OPTIONAL)
  endif()
endfunction()
