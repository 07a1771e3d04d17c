// How many engines there are, and with how many threads.
#ifndef DENOISE_SERVER_REPLICAS_H_
#define DENOISE_SERVER_REPLICAS_H_

#include "server/devices.h"
#include "server/flags.h"
#include "server/model/served_model.h"

namespace denoise {

struct Replicas {
  int count = 1;
  int threads = 1;  // of each
};

// One for each accelerator. On the CPU a replica of one thread for each core that the process may
// use, unless the flags say otherwise: that gives the most rows a second. Warns in the log where
// there are more threads than cores.
Replicas ChooseReplicas(const Flags& flags, const Devices& devices);

// How the flags want models loaded.
LoadOptions OptionsOf(const Flags& flags, const Devices& devices, const Replicas& replicas);

}  // namespace denoise

#endif  // DENOISE_SERVER_REPLICAS_H_
