// A command's surroundings: a console of strings, a folder, a fake of the server.
#ifndef DENOISE_TESTS_UNIT_CLIENT_CLI_CLI_FIXTURE_H_
#define DENOISE_TESTS_UNIT_CLIENT_CLI_CLI_FIXTURE_H_

#include <csignal>
#include <filesystem>
#include <memory>
#include <sstream>
#include <string>
#include <thread>

#include "client/cli/console.h"
#include "client/cli/interrupt.h"
#include "denoise/client.h"
#include "denoise/testing.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace denoise::cli {

// A .npy file whose values have NumPy's type `descr`, such as '<i8'; `shape` as in "(1, 2)".
inline std::string NpyFile(const std::string& descr, const std::string& shape,
                           const std::string& values) {
  const std::string header =
      "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + ", }\n";
  return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(header.size()) + '\0' + header +
         values;
}

class CommandTest : public ::testing::Test {
 protected:
  CommandTest()
      : folder_(std::filesystem::path(::testing::TempDir()) /
                ::testing::UnitTest::GetInstance()->current_test_info()->name()) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directory(folder_);
    model_.name = "digits";
    model_.version = 1;
    model_.sample_shape = {1, 2, 3};
    model_.value_min = -1;
    model_.value_max = 1;
    model_.num_train_timesteps = 1000;
    model_.default_steps = 2;
  }
  ~CommandTest() override { std::filesystem::remove_all(folder_); }

  std::string Path(const char* name) const { return (folder_ / name).string(); }
  bool IsEmpty() const { return std::filesystem::is_empty(folder_); }

  // Runs a command, and interrupts it once it waits for its call.
  template <typename Command>
  int RunAndInterrupt(Command command) {
    std::thread interrupter([this] {
      while (!interrupt_.Trigger(SIGINT)) std::this_thread::yield();
    });
    const int code = command();
    interrupter.join();
    return code;
  }

  const std::filesystem::path folder_;
  const std::shared_ptr<testing::FakeConnection> server_ =
      std::make_shared<testing::FakeConnection>();
  Model& model_ = server_->models.emplace_back();
  Client client_{server_};
  std::ostringstream out_;
  std::ostringstream err_;
  Console console_{.out = out_, .err = err_};
  Interrupt interrupt_;
};

}  // namespace denoise::cli

#endif  // DENOISE_TESTS_UNIT_CLIENT_CLI_CLI_FIXTURE_H_
