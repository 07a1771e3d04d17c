# Run by `cmake --install`: of LibTorch and of CUDA's libraries in pip's wheels, installs those that `program` loads into
# one folder, where they find each other ($ORIGIN stands in the RPATH of each), and the wheels' licences and versions.
#   program   a program with the RPATH of its build
#   libtorch  LibTorch's folder
#   folder    relative to the prefix
#   doc       relative to the prefix: gets NAME/METADATA and NAME/licenses for each wheel
#   strip     the program; used where stripping is asked for
cmake_path(GET libtorch PARENT_PATH site)

# What is loaded by name and not linked: LibTorch's libraries for CUDA, cuDNN's parts, the compiler's headers.
file(GLOB loaded
  ${libtorch}/lib/libtorch_cuda.so ${libtorch}/lib/libtorch_cuda_linalg.so ${libtorch}/lib/libcaffe2_nvrtc.so
  ${site}/nvidia/cudnn/lib/libcudnn_*.so.* ${site}/nvidia/cu13/lib/libnvrtc-builtins.so.*)
# The distribution's own stay where they are. CUDA's driver is not resolved, but for where there is one.
file(GET_RUNTIME_DEPENDENCIES EXECUTABLES ${program} LIBRARIES ${loaded}
  RESOLVED_DEPENDENCIES_VAR linked
  UNRESOLVED_DEPENDENCIES_VAR unresolved
  POST_EXCLUDE_REGEXES "^/(usr/)?lib")
set(libraries ${loaded} ${linked})
list(REMOVE_DUPLICATES libraries)
file(INSTALL ${libraries} DESTINATION ${CMAKE_INSTALL_PREFIX}/${folder} TYPE SHARED_LIBRARY FOLLOW_SYMLINK_CHAIN)

# Symbol tables are a tenth of LibTorch. The wheel's builder has rewritten the others, which strip then damages.
if(CMAKE_INSTALL_DO_STRIP)
  file(GLOB installed "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}/${folder}/libtorch*.so"
    "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}/${folder}/libc10*.so")
  execute_process(COMMAND ${strip} --strip-unneeded ${installed} COMMAND_ERROR_IS_FATAL ANY)
endif()

file(GLOB wheels ${site}/torch-*.dist-info ${site}/nvidia_*.dist-info)
foreach(wheel IN LISTS wheels)
  cmake_path(GET wheel FILENAME name)
  string(REGEX REPLACE "-.*" "" name ${name})
  file(INSTALL ${wheel}/METADATA DESTINATION ${CMAKE_INSTALL_PREFIX}/${doc}/${name})
  file(GLOB licences ${wheel}/licenses ${wheel}/[Ll][Ii][Cc][Ee][Nn][Ss][Ee]* ${wheel}/NOTICE*)
  file(INSTALL ${licences} DESTINATION ${CMAKE_INSTALL_PREFIX}/${doc}/${name})
endforeach()
