#!/usr/bin/env bash
# copy_libtorch.sh PROGRAM SITE-PACKAGES FOLDER: of LibTorch and CUDA's libraries in pip's wheels, copies those that the
# program loads into one folder, where they find each other ($ORIGIN stands in the RPATH of each).
set -euo pipefail
program=$1 site=$2 folder=$3

# What is loaded by name and not linked: LibTorch's libraries for CUDA, cuDNN's parts, the compiler's headers.
shopt -s nullglob
loaded=("$site"/torch/lib/lib{torch_cuda,torch_cuda_linalg,caffe2_nvrtc}.so
  "$site"/nvidia/cudnn/lib/libcudnn_*.so.* "$site"/nvidia/cu13/lib/libnvrtc-builtins.so.*)
present=()
for library in "${loaded[@]}"; do
  if [[ -e $library ]]; then present+=("$library"); fi
done

linked=$(ldd "$program" "${present[@]}" | awk '$3 ~ "/(torch|nvidia/[^/]+)/lib/" { print $3 }')
mkdir -p "$folder"
printf '%s\n' "${present[@]}" "$linked" | sed '/^$/d' | xargs realpath --no-symlinks | sort -u | xargs cp -L -t "$folder"
