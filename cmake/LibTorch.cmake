# LibTorch, of pip's wheel or of the archive from pytorch.org, for CPUs or for CUDA: TORCH_INCLUDE_DIRS and
# TORCH_LIBRARIES, found by Torch_DIR, which is its share/cmake/Torch.
#
# Its own TorchConfig.cmake is passed over: that of a CUDA build wants nvcc and all of CUDA's toolkit, to compile CUDA
# source with, and there is none here. libtorch_cuda is not linked but loaded (server/model/runtime/accelerators.cc).
if(NOT Torch_DIR)
  file(GLOB Torch_DIR ${PROJECT_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch/share/cmake/Torch)
endif()
get_filename_component(libtorch "${Torch_DIR}/../../.." ABSOLUTE)
if(NOT EXISTS ${libtorch}/lib/libtorch_cpu.so OR NOT EXISTS ${libtorch}/include/ATen)
  message(FATAL_ERROR "There is no LibTorch in '${libtorch}' (lib/libtorch_cpu.so and include/ATen are not there): "
    "give -DTorch_DIR=LIBTORCH/share/cmake/Torch")
endif()
set(TORCH_INCLUDE_DIRS ${libtorch}/include ${libtorch}/include/torch/csrc/api/include)
set(TORCH_LIBRARIES ${libtorch}/lib/libtorch_cpu.so ${libtorch}/lib/libc10.so)
