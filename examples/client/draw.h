// Draws samples of a class from a Denoised server.
#ifndef EXAMPLE_DRAW_H_
#define EXAMPLE_DRAW_H_

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "denoise/client.h"

// Two samples of the class, as PNG files' bytes; `log` is told how far they are.
absl::StatusOr<std::vector<std::string>> Draw(denoise::Client& client, int64_t label,
                                              std::ostream& log);

// What went wrong, for a person, with what the server says of it beyond the message.
std::string Explain(const absl::Status& status);

#endif  // EXAMPLE_DRAW_H_
