# Follows CONTRIBUTING.md: takes the example of "Adding a sampler" out of it and makes it known to
# copies of the files that list samplers. Fails where the document and the code no longer fit.
#
#   cmake -DROOT=… -DOUT=… -P contributing_example.cmake
file(READ ${ROOT}/CONTRIBUTING.md document)

# The code block whose first line names `path`.
function(take_block path result)
  string(FIND "${document}" "```cpp\n// ${path}\n" begin)
  if(begin EQUAL -1)
    message(FATAL_ERROR "CONTRIBUTING.md has no block of ${path}")
  endif()
  string(SUBSTRING "${document}" ${begin} -1 rest)
  string(SUBSTRING "${rest}" 7 -1 rest)
  string(FIND "${rest}" "\n```" end)
  string(SUBSTRING "${rest}" 0 ${end} block)
  set(${result} "${block}\n" PARENT_SCOPE)
endfunction()

# Copies `path` with `added` after `anchor`.
function(copy_with path anchor added)
  file(READ ${ROOT}/${path} code)
  string(REPLACE "${anchor}" "${anchor}${added}" changed "${code}")
  if(changed STREQUAL code)
    message(FATAL_ERROR "${path} has no \"${anchor}\" any more: where does a sampler go now?")
  endif()
  file(WRITE ${OUT}/${path} "${changed}")
endfunction()

take_block(server/diffusion/samplers/lms_2.cc sampler)
take_block(tests/unit/diffusion/lms_2_test.cc test)
file(WRITE ${OUT}/server/diffusion/samplers/lms_2.cc "${sampler}")
file(WRITE ${OUT}/tests/unit/diffusion/lms_2_test.cc
"#include <gtest/gtest.h>

#include \"server/diffusion/beta_schedule.h\"
#include \"server/diffusion/sampler.h\"
#include \"tests/unit/diffusion/table_moments.h\"

namespace denoise {
${test}
TEST(Lms2, IsListedAndLeavesItsClassToLms) {
  EXPECT_EQ(Name(SamplerKind::kLms2), \"lms_2\");
  const auto config = ParseSchedulerConfig(R\"({\"_class_name\": \"LMSDiscreteScheduler\"})\");
  EXPECT_EQ(config->default_sampler, SamplerKind::kLms);
}
}  // namespace denoise
")
copy_with(server/diffusion/scheduler_config.h "  kDeis,\n" "  kLms2,\n")
copy_with(server/diffusion/samplers/samplers.h "extern const SamplerSpec kLms;\n"
          "extern const SamplerSpec kLms2;\n")
copy_with(server/diffusion/samplers/samplers.cc "&kLms," "&kLms2,")

# As long as the document says that it takes.
string(REGEX MATCHALL "\n" lines "${sampler}${test}")
list(LENGTH lines count)
if(count GREATER_EQUAL 60)
  message(FATAL_ERROR "the example of CONTRIBUTING.md has ${count} lines, which is not under 60")
endif()
