// denoised --hash-token: what a token file has in place of a token.
#ifndef DENOISE_SERVER_HASH_TOKEN_H_
#define DENOISE_SERVER_HASH_TOKEN_H_

namespace denoise {

// Reads a token, one line, from standard input and prints the sha256 for its entry. The program's
// exit status: EX_DATAERR for what is no token, or short enough to be guessed.
int HashToken();

}  // namespace denoise

#endif  // DENOISE_SERVER_HASH_TOKEN_H_
