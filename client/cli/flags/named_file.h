// A file that a flag names: NAME=FILE.
#ifndef DENOISE_CLIENT_CLI_FLAGS_NAMED_FILE_H_
#define DENOISE_CLIENT_CLI_FLAGS_NAMED_FILE_H_

#include <string>

namespace denoise::cli {

struct NamedFile {
  std::string name;
  std::string path;
};

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_FLAGS_NAMED_FILE_H_
