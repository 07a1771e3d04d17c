# LibTorch, of pip's wheel or of the archive from pytorch.org, for CPUs or for CUDA: TORCH_INCLUDE_DIRS and
# TORCH_LIBRARIES, found by Torch_DIR, which is its share/cmake/Torch.
#
# Its own TorchConfig.cmake is passed over: that of a CUDA build wants nvcc and all of CUDA's toolkit, to compile CUDA
# source with. There is none here, and to link, the libraries are enough.
if(NOT Torch_DIR)
  file(GLOB Torch_DIR ${PROJECT_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch/share/cmake/Torch)
endif()
get_filename_component(libtorch "${Torch_DIR}/../../.." ABSOLUTE)
if(NOT EXISTS ${libtorch}/lib/libtorch_cpu.so OR NOT EXISTS ${libtorch}/include/ATen)
  message(FATAL_ERROR "There is no LibTorch in '${libtorch}' (lib/libtorch_cpu.so and include/ATen are not there): "
    "give -DTorch_DIR=LIBTORCH/share/cmake/Torch")
endif()
set(TORCH_INCLUDE_DIRS ${libtorch}/include ${libtorch}/include/torch/csrc/api/include)

# Nothing here calls into libtorch_cuda: it is loaded so that it registers its kernels, which the linker must not save.
set(libraries ${libtorch}/lib/libtorch_cpu.so)
if(EXISTS ${libtorch}/lib/libtorch_cuda.so)
  set(libraries ${libraries},${libtorch}/lib/libtorch_cuda.so)
  message(STATUS "LibTorch: ${libtorch}, with CUDA")
else()
  message(STATUS "LibTorch: ${libtorch}, without CUDA")
endif()
add_library(libtorch INTERFACE IMPORTED)
set_property(TARGET libtorch PROPERTY INTERFACE_LINK_LIBRARIES
  -Wl,--push-state,--no-as-needed,${libraries},--pop-state ${libtorch}/lib/libc10.so)
# CUDA's own libraries lie in other wheels, beside torch/, and are no concern of whoever links LibTorch.
file(GLOB cuda_folders ${libtorch}/../nvidia/*/lib)
foreach(folder ${cuda_folders})
  set_property(TARGET libtorch APPEND PROPERTY INTERFACE_LINK_OPTIONS -Wl,-rpath-link,${folder})
endforeach()
set(TORCH_LIBRARIES libtorch)
