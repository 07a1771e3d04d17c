// What an examination found, for people.
#ifndef DENOISE_SERVER_MODEL_EXAMINATION_EXAMINATION_REPORT_H_
#define DENOISE_SERVER_MODEL_EXAMINATION_EXAMINATION_REPORT_H_

#include <string>
#include <vector>

#include "server/model/examination/batch_time.h"

namespace denoise {

// One line each: "rows of a batch" "independent (apart by 2e-7 of its size)".
struct TestResult {
  std::string test;
  std::string result;
};

struct ExaminationReport {
  std::vector<TestResult> tests;  // in order, until one failed
  std::vector<BatchTime> times;   // of every batch size that was measured
  // Of each of those, which agreed bit for bit: equal numbers from 0 on; -1: a row's bits depend on
  // its position or neighbours even within the size. Empty: not compared.
  std::vector<int> agreement;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_EXAMINATION_EXAMINATION_REPORT_H_
