// The command line, environment and configuration file of `denoised`.
#ifndef DENOISE_SERVER_FLAGS_H_
#define DENOISE_SERVER_FLAGS_H_

#include <chrono>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "server/engine/batch_planner.h"
#include "server/engine/policy.h"
#include "server/log/log.h"
#include "server/rpc/access/tls.h"
#include "server/rpc/connection_options.h"

namespace denoise {

// Whose part of the server a call without credentials uses.
enum class TenantBy {
  kNone,      // all callers are one tenant
  kAddress,   // each address is one
  kMetadata,  // denoise-tenant says it: for a network in which callers are trusted
};

// Every flag is also DENOISED_… in the environment and a key of --config; the command line wins
// over the environment, the environment over the file.
struct Flags {
  // Models: folders, and folders of folders.
  std::vector<std::string> models;
  std::string model_repository;

  // Addresses, HOST:PORT; port 0: any. An empty metrics_listen: no metrics.
  std::string listen = "127.0.0.1:8500";
  std::string metrics_listen = "127.0.0.1:8501";
  std::string admin_listen;  // empty: no ModelAdmin
  // Whether callers of the Open Inference Protocol may register shared memory of this machine.
  bool shared_memory = false;

  // Who may call. Tokens are sent over TLS only.
  CertificateFiles tls;
  std::string token_file;  // empty: everybody
  TenantBy tenant_by = TenantBy::kNone;

  // Devices and how the denoiser is called.
  std::string devices = "cpu";        // see devices.h
  int threads = 0;                    // of a replica; 0: tuned
  std::string executor = "auto";      // auto, torchscript, aotinductor
  std::string layout = "auto";        // auto, contiguous, channels_last
  std::string precision = "float32";  // the weights' own; or bfloat16
  int64_t max_batch_rows = 0;         // 0: where the device is saturated
  std::vector<int64_t> batch_sizes;
  bool batch_invariant = false;  // only sizes that agree bit for bit
  Batching batching = Batching::kStep;
  Order policy = Order::kFcfs;
  double max_wait_seconds = 30;

  // Tuning: measuring at load which of all that the flags leave open is quickest.
  std::string tune_for = "throughput";  // or latency
  double tune_seconds = 3;              // of each model; 0: fixed rules instead
  std::string tune_cache;               // file; empty: none

  // Limits.
  uint32_t max_waiting = 256;       // requests
  double max_backlog_seconds = 10;  // 0: no bound
  uint32_t max_active = 1024;       // chains, of all replicas
  uint32_t max_samples = 64;        // chains of a request
  uint64_t max_message_bytes = 64u << 20;
  uint64_t max_state_bytes = 256u << 10;  // of a request, waiting for its reader
  uint64_t max_receive_bytes = 0;         // of all calls together; 0: max_message_bytes
  uint64_t memory_budget = 0;             // bytes; 0: a quarter of the memory that there is
  double write_timeout_seconds = 60;
  double watchdog_seconds = 120;
  double drain_grace_seconds = 30;
  ConnectionOptions connections;

  // Limits of a caller, or of a tenant, of whom the token file does not say otherwise. 0: no bound
  // but the server's.
  int max_priority = 0;
  double max_call_seconds = 0;
  uint32_t max_waiting_per_tenant = 128;
  uint64_t max_bytes_per_tenant = 256u << 20;  // that waiting requests have brought
  uint32_t max_active_per_tenant = 512;        // chains
  double max_rate_per_tenant = 0;              // denoiser rows a second
  int max_admin_operations = 16;
  uint32_t max_regions = 256;  // of shared memory

  std::string log_level = "info";
  LogFormat log_format = LogFormat::kText;

  // Ask the server at `listen` for its health, and exit.
  bool probe = false;
  // Folder of a model to examine; report, and exit. Empty: serve.
  std::string examine;
  // Print the sha256 of the token on standard input, and exit.
  bool hash_token = false;

  // Whether callers are told apart; otherwise all are one tenant.
  bool has_tenants() const { return !token_file.empty() || tenant_by != TenantBy::kNone; }
};

// Whether only this machine reaches HOST:PORT.
bool IsLoopback(const std::string& address);

// Of more than a year it is as much as never.
std::chrono::nanoseconds Nanoseconds(double seconds);

// The flags, or the exit status with which the program is to end at once (after --help, --version,
// or a message on stderr about what was wrong and what would be right).
std::variant<Flags, int> ParseFlags(int argc, char** argv);

}  // namespace denoise

#endif  // DENOISE_SERVER_FLAGS_H_
