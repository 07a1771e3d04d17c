// Tells ThreadSanitizer of gRPC's hand-over between threads, which it cannot see, because
// distributions' gRPC and Abseil are not built for it: what was done before an operation was
// started happens before its callback. So what our own reactors and calls do is checked as it
// stands, and tests/tsan.supp need not hide it. In place of gRPC's own symbol.
#include <dlfcn.h>
#include <grpc/grpc.h>
#include <link.h>
#include <sanitizer/tsan_interface.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <utility>

namespace {

using Run = void (*)(grpc_completion_queue_functor*, int);

// gRPC's callbacks: there are two (of a status, of success), in each library that has the template.
constexpr size_t kMost = 16;
std::array<std::atomic<Run>, kMost> real_runs;

#ifdef DENOISE_TSAN_WIRE
// Where a test is both client and server, and they share memory: what was done before anything was
// sent happens before what is called back later. That hides some races, so the tests of the server
// do without.
char wire;
#endif

template <size_t i>
void RunAfter(grpc_completion_queue_functor* tag, int ok) {
  __tsan_acquire(tag);
#ifdef DENOISE_TSAN_WIRE
  __tsan_acquire(&wire);
#endif
  real_runs[i].load(std::memory_order_relaxed)(tag, ok);
}

template <size_t... i>
constexpr std::array<Run, kMost> MakeRuns(std::index_sequence<i...>) {
  return {&RunAfter<i>...};
}
constexpr std::array<Run, kMost> kRuns = MakeRuns(std::make_index_sequence<kMost>());

// A blocking call's tag begins with a table of virtual functions instead, and needs no telling: its
// thread waits.
bool IsCode(Run run) {
  const auto visit = [](dl_phdr_info* library, size_t, void* address) {
    for (int i = 0; i < library->dlpi_phnum; ++i) {
      const ElfW(Phdr)& part = library->dlpi_phdr[i];
      const uintptr_t begin = library->dlpi_addr + part.p_vaddr;
      const auto at = reinterpret_cast<uintptr_t>(address);
      if (part.p_type == PT_LOAD && (part.p_flags & PF_X) != 0 && at >= begin &&
          at - begin < part.p_memsz)
        return 1;
    }
    return 0;
  };
  return dl_iterate_phdr(visit, reinterpret_cast<void*>(run)) == 1;
}

// The one of kRuns that calls `run`; null where there is none.
Run After(Run run) {
  for (size_t i = 0; i < kMost; ++i) {
    if (run == kRuns[i]) return run;
    Run known = real_runs[i].load(std::memory_order_relaxed);
    if (known == nullptr) {
      if (!IsCode(run)) return nullptr;
      real_runs[i].compare_exchange_strong(known, run, std::memory_order_relaxed);
      known = real_runs[i].load(std::memory_order_relaxed);
    }
    if (known == run) return kRuns[i];
  }
  return nullptr;
}

}  // namespace

extern "C" grpc_call_error grpc_call_start_batch(grpc_call* call, const grpc_op* ops, size_t count,
                                                 void* tag, void* reserved) {
  static const auto real =
      reinterpret_cast<decltype(&grpc_call_start_batch)>(dlsym(RTLD_NEXT, "grpc_call_start_batch"));
  auto* functor = static_cast<grpc_completion_queue_functor*>(tag);
  if (tag != nullptr) {
    if (const Run run = After(functor->functor_run)) {
      functor->functor_run = run;
      __tsan_release(tag);
#ifdef DENOISE_TSAN_WIRE
      __tsan_release(&wire);
#endif
    }
  }
  return real(call, ops, count, tag, reserved);
}
