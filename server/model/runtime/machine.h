// The machine that models are run on, as far as it decides what is quick and which bits come out.
#ifndef DENOISE_SERVER_MODEL_RUNTIME_MACHINE_H_
#define DENOISE_SERVER_MODEL_RUNTIME_MACHINE_H_

#include <string>

#include "absl/strings/string_view.h"

namespace denoise {

struct Machine {
  int cores = 1;  // that this process may use
  // Maker, family, model, stepping and name: machines with equal texts are equally quick.
  std::string cpu;
  // Maker and the instruction sets that kernels are chosen by, as "GenuineIntel AVX512
  // avx512_bf16".
  std::string capability;
  bool bfloat16 = false;  // multiplies bfloat16 without taking it apart
  std::string libtorch;   // its version
};

// Looked at once. Thread-safe.
const Machine& ThisMachine();

// cpu, capability and bfloat16 from the text of /proc/cpuinfo and LibTorch's own name of the
// instruction set ("AVX512"). What is not there stays empty.
Machine DescribeCpu(absl::string_view cpuinfo, absl::string_view instruction_set);

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_RUNTIME_MACHINE_H_
