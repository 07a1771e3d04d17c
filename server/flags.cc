#include "server/flags.h"

#include <sysexits.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <regex>

#include "CLI/CLI.hpp"
#include "server/devices.h"

namespace denoise {
namespace {

// "--max-waiting" is DENOISED_MAX_WAITING in the environment.
std::string EnvironmentName(const std::string& flag) {
  std::string name = "DENOISED_";
  for (const char c : flag.substr(2)) name += c == '-' ? '_' : static_cast<char>(std::toupper(c));
  return name;
}

// "10s", "500ms", "2m", or seconds as a number; at least so many seconds.
CLI::Validator Duration(double least = 0) {
  return CLI::Validator(
      [least](std::string& text) -> std::string {
        static const std::regex kDuration(R"((\d+(?:\.\d+)?)(ms|s|m|h)?)");
        std::smatch match;
        if (!std::regex_match(text, match, kDuration)) {
          return "'" + text + "' is not a duration: write for example 500ms, 10s or 2m";
        }
        const std::string unit = match[2];
        const double factor = unit == "ms" ? 1e-3 : unit == "m" ? 60 : unit == "h" ? 3600 : 1;
        const double seconds = std::stod(match[1]) * factor;
        if (seconds < least) return "'" + text + "' is too short";
        text = std::to_string(seconds);
        return "";
      },
      "DURATION");
}

// Bytes, with K, M or G for powers of 1024.
CLI::Validator Bytes() { return CLI::AsSizeValue(false).description("BYTES"); }

CLI::Validator HostPort() {
  return CLI::Validator(
      [](std::string& text) -> std::string {
        static const std::regex kHostPort(R"((\[[0-9a-fA-F:.]+\]|[^:\s]+):(\d{1,5}))");
        std::smatch match;
        if (!std::regex_match(text, match, kHostPort) || std::stoi(match[2]) > 65535) {
          return "'" + text + "' is not an address: write HOST:PORT, such as 127.0.0.1:8500";
        }
        return "";
      },
      "HOST:PORT");
}

CLI::Validator DeviceList() {
  return CLI::Validator(
      [](std::string& text) -> std::string {
        return std::string(ParseDevices(text).status().message());
      },
      "cpu|cpu:N|cuda:0,…|all");
}

// What no flag tells by itself; empty: nothing is wrong.
std::string Contradiction(const Flags& flags, const CLI::App& app) {
  if (flags.probe || !flags.examine.empty() || flags.hash_token) return "";
  if (flags.models.empty() && flags.model_repository.empty()) {
    return "no model: give --model FOLDER or --model-repository FOLDER";
  }
  // Who reaches ModelAdmin may do as they like with the models.
  const bool closed = !flags.token_file.empty() && flags.tls.enabled();
  if (!flags.admin_listen.empty() && !IsLoopback(flags.admin_listen) && !closed) {
    return "--admin-listen: '" + flags.admin_listen +
           "' is open to other machines: give --tls-cert, --tls-key and --token-file with an entry "
           "of the scope admin, or write 127.0.0.1:PORT and reach it by a tunnel or from a "
           "container of the same pod";
  }
  if (!flags.has_tenants()) {
    for (const char* flag : {"--max-waiting-per-tenant", "--max-bytes-per-tenant",
                             "--max-active-per-tenant", "--max-rate-per-tenant"}) {
      if (app.get_option(flag)->count() == 0) continue;
      return std::string(flag) +
             ": all callers are one tenant, to which the server's own limits apply: tell them "
             "apart by --token-file or --tenant-by";
    }
  }
  return "";
}

}  // namespace

bool IsLoopback(const std::string& address) {
  static const std::regex kLoopback(R"((127(\.\d{1,3}){3}|\[::1\]|localhost):\d+)");
  return std::regex_match(address, kLoopback);
}

std::chrono::nanoseconds Nanoseconds(double seconds) {
  return std::chrono::nanoseconds(static_cast<int64_t>(std::min(seconds, 365.0 * 24 * 3600) * 1e9));
}

std::variant<Flags, int> ParseFlags(int argc, char** argv) {
  Flags flags;
  CLI::App app(
      "denoised serves diffusion models: it batches the steps of all callers' chains together and\n"
      "streams their states. Every flag can also be given as DENOISED_… in the environment\n"
      "(--max-waiting as DENOISED_MAX_WAITING) and as a key of the --config file.",
      "denoised");
  app.set_version_flag("--version", std::string("denoised ") + DENOISE_VERSION);
  app.set_config("--config", "", "Read flags from a TOML file")
      ->envname("DENOISED_CONFIG")
      ->check(CLI::ExistingFile);
  app.allow_config_extras(CLI::config_extras_mode::error);
  app.get_formatter()->column_width(34);

  const auto add = [&app](const char* flag, auto& value, const char* help, const char* group) {
    return app.add_option(flag, value, help)
        ->envname(EnvironmentName(flag))
        ->group(group)
        ->capture_default_str();
  };

  const char* models = "Models";
  add("--model", flags.models, "Folder of a model; may be repeated", models);
  add("--model-repository", flags.model_repository, "Folder with NAME/VERSION/ or NAME/ folders",
      models);

  const char* addresses = "Addresses";
  add("--listen", flags.listen, "gRPC", addresses)->check(HostPort());
  add("--metrics-listen", flags.metrics_listen, "Prometheus metrics; empty: none", addresses)
      ->check(HostPort() | CLI::IsMember({""}));
  add("--admin-listen", flags.admin_listen,
      "gRPC service ModelAdmin; of this machine alone, but with TLS and --token-file; empty: none",
      addresses)
      ->check(HostPort() | CLI::IsMember({""}));
  app.add_flag(
         "--shared-memory", flags.shared_memory,
         "Let callers of the Open Inference Protocol pass tensors through POSIX shared memory "
         "of this machine: any object that the server's user may open")
      ->envname("DENOISED_SHARED_MEMORY")
      ->group(addresses);

  // Flags that are of no use by themselves say which other one they need.
  const char* security = "Security";
  auto* cert = add("--tls-cert", flags.tls.certificate,
                   "Certificate chain, PEM; the port then speaks TLS only", security);
  auto* key = add("--tls-key", flags.tls.key, "Its private key, PEM", security)->needs(cert);
  cert->needs(key);
  add("--tls-client-ca", flags.tls.client_ca,
      "CA certificates, PEM: callers must show a certificate that one of them signed", security)
      ->needs(cert);
  auto* tokens = add("--token-file", flags.token_file,
                     "Who may call, and what each may have, as a list in JSON; callers send "
                     "'authorization: Bearer TOKEN' or show a certificate",
                     security)
                     ->needs(cert);
  const std::map<std::string, TenantBy> tenants = {{"none", TenantBy::kNone},
                                                   {"address", TenantBy::kAddress},
                                                   {"metadata", TenantBy::kMetadata}};
  app.add_option("--tenant-by", flags.tenant_by,
                 "Without --token-file: none: all callers are one tenant; address: each address is "
                 "one; metadata: whom denoise-tenant names, where all callers are trusted")
      ->envname("DENOISED_TENANT_BY")
      ->group(security)
      ->transform(CLI::CheckedTransformer(tenants).description("none|address|metadata"))
      ->default_str("none")
      ->excludes(tokens);

  const char* devices = "Devices and batching";
  add("--devices", flags.devices,
      "cpu: as many replicas as measured best; cpu:N: N replicas; cuda:0,cuda:1: an engine on "
      "each; "
      "all: every CUDA device, else cpu",
      devices)
      ->check(DeviceList());
  add("--threads", flags.threads, "Threads of a replica; 0: as measured best", devices)
      ->check(CLI::Range(0, 1024));
  add("--executor", flags.executor,
      "What runs the denoiser: torchscript (denoiser.pt) or aotinductor (denoiser.pt2); auto: "
      "as measured best",
      devices)
      ->check(CLI::IsMember({"auto", "torchscript", "aotinductor"}));
  add("--layout", flags.layout, "Memory layout of weights and activations; auto: as measured best",
      devices)
      ->check(CLI::IsMember({"auto", "contiguous", "channels_last"}));
  add("--precision", flags.precision,
      "float32: as the weights are; bfloat16: convolutions and matrix products in bfloat16, 1.6 "
      "times as fast where the CPU has AVX512_BF16 or AMX",
      devices)
      ->check(CLI::IsMember({"float32", "bfloat16"}));
  add("--max-batch-rows", flags.max_batch_rows,
      "Most rows of a denoiser call; 0: where the device is saturated, as measured at load",
      devices)
      ->check(CLI::Range(0, 65536));
  add("--batch-sizes", flags.batch_sizes,
      "Batch sizes that are run, instead of those found at load", devices)
      ->delimiter(',')
      ->check(CLI::Range(1, 65536));
  app.add_flag(
         "--batch-invariant", flags.batch_invariant,
         "Run only batch sizes that agree bit for bit, so that a request's result is the same "
         "to the last bit alone and in any batch")
      ->envname("DENOISED_BATCH_INVARIANT")
      ->group(devices);
  const std::map<std::string, Batching> batching = {
      {"step", Batching::kStep}, {"request", Batching::kRequest}, {"none", Batching::kNone}};
  app.add_option("--batching", flags.batching,
                 "step: chains join and leave at every tick; request, none: for comparison")
      ->envname("DENOISED_BATCHING")
      ->group(devices)
      ->transform(CLI::CheckedTransformer(batching).description("step|request|none"))
      ->default_str("step");
  const std::map<std::string, Order> orders = {
      {"fcfs", Order::kFcfs}, {"srpf", Order::kSrpf}, {"fair", Order::kFair}};
  app.add_option("--policy", flags.policy,
                 "Order at equal priority and deadline: fcfs: first come, first served; srpf: "
                 "shortest remaining first, with ageing; fair: tenants in turn")
      ->envname("DENOISED_POLICY")
      ->group(devices)
      ->transform(CLI::CheckedTransformer(orders).description("fcfs|srpf|fair"))
      ->default_str("fcfs");
  add("--max-wait", flags.max_wait_seconds,
      "A request that is older goes first, whatever its priority", devices)
      ->transform(Duration());

  const char* tuning = "Tuning at load";
  add("--tune-for", flags.tune_for,
      "throughput: most rows a second; latency: the quickest single row", tuning)
      ->check(CLI::IsMember({"throughput", "latency"}));
  add("--tune-seconds", flags.tune_seconds,
      "Time for each model to measure what the flags leave open; 0: fixed rules instead", tuning)
      ->transform(Duration());
  add("--tune-cache", flags.tune_cache,
      "File that keeps what was measured, so that the next start need not measure again", tuning);

  const char* limits = "Limits";
  add("--max-waiting", flags.max_waiting, "Requests that may wait", limits)
      ->check(CLI::Range(1u, 1'000'000u));
  add("--max-backlog", flags.max_backlog_seconds,
      "Longest expected wait: a request that would wait longer is refused; 0: no limit", limits)
      ->transform(Duration());
  add("--max-active", flags.max_active, "Chains that may run, of all replicas", limits)
      ->check(CLI::Range(1u, 1'000'000u));
  add("--max-samples", flags.max_samples, "Samples of one request", limits)
      ->check(CLI::Range(1u, 65536u));
  add("--max-message-bytes", flags.max_message_bytes, "Size of a message, either way", limits)
      ->transform(Bytes())
      ->check(CLI::Range(uint64_t{4096}, uint64_t{1} << 31));
  add("--max-state-bytes", flags.max_state_bytes,
      "States of a request that may wait for its reader; older ones are left out", limits)
      ->transform(Bytes())
      ->check(CLI::Range(uint64_t{1024}, uint64_t{1} << 31));
  add("--max-receive-bytes", flags.max_receive_bytes,
      "Messages that are being received, of all callers together: past it the connection that has "
      "sent the most is refused; at least --max-message-bytes, which 0 means",
      limits)
      ->transform(Bytes());
  add("--memory-budget", flags.memory_budget,
      "Memory for what callers make the server hold: messages while they are parsed, what requests "
      "brought, their tables and their results until these are read; 0: a quarter of what the "
      "process may use",
      limits)
      ->transform(Bytes());
  add("--write-timeout", flags.write_timeout_seconds,
      "A caller that does not read for so long, or that takes so long to send its request, is cut "
      "off; 0: no limit",
      limits)
      ->transform(Duration());
  add("--watchdog", flags.watchdog_seconds,
      "Longest turn of an engine: after it health says NOT_SERVING, and after twice as long the "
      "process ends with status 70; 0: no limit",
      limits)
      ->transform(Duration());
  add("--drain-grace", flags.drain_grace_seconds, "Time for running chains after SIGTERM", limits)
      ->transform(Duration());

  const char* callers = "Limits of a caller of whom --token-file does not say otherwise";
  add("--max-priority", flags.max_priority, "Highest priority of a request", callers)
      ->check(CLI::Range(-kMaxPriority, kMaxPriority));
  add("--max-call", flags.max_call_seconds,
      "Longest call; one without a deadline ends then; 0: no limit", callers)
      ->transform(Duration());
  add("--max-waiting-per-tenant", flags.max_waiting_per_tenant,
      "Requests of one tenant that may wait; 0: no limit of its own", callers)
      ->check(CLI::Range(0u, 1'000'000u));
  add("--max-bytes-per-tenant", flags.max_bytes_per_tenant,
      "What those may have brought; 0: no limit of its own", callers)
      ->transform(Bytes());
  add("--max-active-per-tenant", flags.max_active_per_tenant,
      "Chains of one tenant that may run; its others wait; 0: no limit of its own", callers)
      ->check(CLI::Range(0u, 1'000'000u));
  add("--max-rate-per-tenant", flags.max_rate_per_tenant,
      "Denoiser rows a second that one tenant may ask for; 0: no limit", callers)
      ->check(CLI::Range(0.0, 1e9));
  add("--max-admin-operations", flags.max_admin_operations,
      "Operations of ModelAdmin that may wait", limits)
      ->check(CLI::Range(1, 1000));
  add("--max-regions", flags.max_regions,
      "Regions of shared memory that may be registered, half of them by one tenant", limits)
      ->check(CLI::Range(1u, 100'000u));

  const char* connections = "Connections of callers";
  ConnectionOptions& connection = flags.connections;
  add("--max-connections", connection.max_connections,
      "In all; fewer where the process may have fewer than these and 128 descriptors", connections)
      ->check(CLI::Range(1u, 1'000'000u));
  add("--max-connections-per-address", connection.max_per_address,
      "Of those, of one address: an IPv4 address, or the first 64 bits of an IPv6 address",
      connections)
      ->check(CLI::Range(1u, 1'000'000u));
  add("--max-calls-per-connection", connection.max_calls, "Calls of one connection at once",
      connections)
      ->check(CLI::Range(1u, 1'000'000u));
  add("--handshake-timeout", connection.handshake_timeout,
      "Time for a new connection to say that it speaks TLS or HTTP/2, and then for the handshake",
      connections)
      ->transform(Duration(1e-3));
  add("--max-connection-idle", connection.max_idle,
      "A connection that has had no call for so long is closed; 0: never", connections)
      ->transform(Duration());
  add("--max-connection-age", connection.max_age,
      "A connection that is older takes no new calls, so that callers connect anew, and find "
      "servers that have come since; 0: never",
      connections)
      ->transform(Duration());
  add("--max-connection-age-grace", connection.max_age_grace,
      "Time for its calls, which are then cut off; 0: no limit", connections)
      ->transform(Duration());
  add("--keepalive", connection.keepalive,
      "A connection that is silent for so long is pinged; 0: never", connections)
      ->transform(Duration());
  add("--keepalive-timeout", connection.keepalive_timeout,
      "Time for its answer, and for what is sent to arrive, before it is closed", connections)
      ->transform(Duration(1e-3));
  add("--min-ping-interval", connection.min_ping_interval,
      "A connection that pings more often, while nothing else is sent, is closed at the fourth "
      "ping",
      connections)
      ->transform(Duration());

  const char* other = "Other";
  add("--log-level", flags.log_level, "On stderr", other)
      ->check(CLI::IsMember({"debug", "info", "warn", "error", "off"}));
  const std::map<std::string, LogFormat> formats = {{"text", LogFormat::kText},
                                                    {"json", LogFormat::kJson}};
  app.add_option("--log-format", flags.log_format, "json: an object a line")
      ->envname("DENOISED_LOG_FORMAT")
      ->group(other)
      ->transform(CLI::CheckedTransformer(formats).description("text|json"))
      ->default_str("text");
  app.add_option("--examine", flags.examine,
                 "Load the model in that folder, report what was found, and exit 0 if it can be "
                 "served")
      ->group(other);
  app.add_flag("--probe", flags.probe, "Ask the server at --listen for its health, and exit 0 or 1")
      ->group(other);
  app.add_flag("--hash-token", flags.hash_token,
               "Print the sha256 for --token-file of the token on standard input, and exit")
      ->group(other);

  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& done) {  // --help, --version
    return app.exit(done);
  } catch (const CLI::ParseError& error) {
    std::cerr << "denoised: " << error.what() << " (denoised --help lists the flags)\n";
    return EX_USAGE;
  }
  if (const std::string wrong = Contradiction(flags, app); !wrong.empty()) {
    std::cerr << "denoised: " << wrong << "\n";
    return EX_USAGE;
  }
  return flags;
}

}  // namespace denoise
