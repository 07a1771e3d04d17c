// The page's files.
#ifndef DENOISE_CLIENT_VIEWER_ASSETS_H_
#define DENOISE_CLIENT_VIEWER_ASSETS_H_

#include <map>
#include <string>

namespace denoise::viewer {

// By path, such as "/style.css".
const std::map<std::string, std::string>& Assets();

}  // namespace denoise::viewer

#endif  // DENOISE_CLIENT_VIEWER_ASSETS_H_
