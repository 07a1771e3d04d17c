// Answers of hostile and broken servers.
#include "client/src/decode.h"

#include <functional>
#include <limits>

#include "client/src/stream_decoders.h"
#include "denoise/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/client/fake_server.h"
#include "tests/unit/text_proto.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

SampleRequest TwoSamples() {
  SampleRequest request;
  request.num_samples = 2;
  return request;
}

// What comes of a stream: the first error, or that of its end.
absl::Status Decode(const SampleRequest& request, const std::vector<v1::SampleEvent>& events) {
  SampleDecoder decoder(request);
  for (const auto& wire : events) {
    const auto event = decoder.Decode(wire);
    if (!event.ok()) return event.status();
  }
  return decoder.AtEnd();
}

struct Broken {
  const char* name;
  std::function<void(std::vector<v1::SampleEvent>*)> alter;  // of a chain of 2 samples, 1 step
  const char* message;
};

class BrokenStreamTest : public ::testing::TestWithParam<Broken> {};

TEST_P(BrokenStreamTest, IsDataLoss) {
  auto events = Chain(2, 1);
  ASSERT_TRUE(Decode(TwoSamples(), events).ok());
  GetParam().alter(&events);
  const auto status = Decode(TwoSamples(), events);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().message));
}

using Events = std::vector<v1::SampleEvent>;

v1::State* FirstState(Events* events) { return (*events)[1].mutable_state(); }
v1::Result* Last(Events* events) { return events->back().mutable_result(); }

INSTANTIATE_TEST_SUITE_P(
    All, BrokenStreamTest,
    ::testing::Values(
        Broken{"NoEvents", [](Events* e) { e->clear(); }, "without a result"},
        Broken{"NoResult", [](Events* e) { e->pop_back(); }, "without a result"},
        Broken{"NoAccepted", [](Events* e) { e->erase(e->begin()); }, "out of order"},
        Broken{"AcceptedTwice", [](Events* e) { e->insert(e->begin(), e->front()); },
               "out of order"},
        Broken{"ResultTwice", [](Events* e) { e->push_back(e->back()); }, "out of order"},
        Broken{"StateAfterTheResult", [](Events* e) { e->push_back((*e)[1]); }, "out of order"},
        Broken{"EmptyEvent", [](Events* e) { (*e)[1].Clear(); }, "empty"},
        Broken{"TimestepsMissing", [](Events* e) { (*e)[0].mutable_accepted()->clear_timesteps(); },
               "accepted.timesteps has 0 values, not 1"},
        Broken{"StepsThatOverflow",
               [](Events* e) { (*e)[0].mutable_accepted()->set_total_steps(0xffffffff); },
               "accepted.timesteps"},
        Broken{"AlphaBarsMissing",
               [](Events* e) { (*e)[0].mutable_accepted()->clear_alpha_bars(); },
               "accepted.alpha_bars has 0 values, not 2"},
        Broken{"WaitOutOfRange",
               [](Events* e) {
                 (*e)[0].mutable_accepted()->mutable_estimated_wait()->set_seconds(
                     std::numeric_limits<int64_t>::max());
               },
               "estimated_wait"},
        Broken{"SampleIndex", [](Events* e) { FirstState(e)->set_sample_index(2); },
               "sample_index is 2 of 2"},
        Broken{"StepBeyondTheEnd", [](Events* e) { FirstState(e)->set_step(2); }, "state.step"},
        Broken{"OtherTotal", [](Events* e) { FirstState(e)->set_total_steps(7); }, "of 7"},
        Broken{"UnknownContent",
               [](Events* e) { FirstState(e)->set_content(static_cast<v1::Content>(77)); },
               "content is 77"},
        Broken{"StateWithoutData", [](Events* e) { FirstState(e)->clear_data(); },
               "data is missing"},
        Broken{"EmptyPng", [](Events* e) { FirstState(e)->set_png(""); }, "png is empty"},
        Broken{"StateOfThreeExtents",
               [](Events* e) {
                 *FirstState(e)->mutable_tensor() = MakeTensor({1, 2, 2}, 0);
               },
               "[1, C, H, W]"},
        Broken{"StateOfTwoSamples",
               [](Events* e) {
                 *FirstState(e)->mutable_tensor() = MakeTensor({2, 1, 1, 2}, 0);
               },
               "[1, C, H, W]"},
        Broken{"NoSamples", [](Events* e) { Last(e)->clear_samples(); }, "dtype"},
        Broken{"OneSampleOfTwo",
               [](Events* e) {
                 *Last(e)->mutable_samples() = MakeTensor({1, 1, 2, 2}, 0);
               },
               "[2, C, H, W]"},
        Broken{"TimingOutOfRange",
               [](Events* e) { Last(e)->mutable_timing()->mutable_queue()->set_nanos(-2e9); },
               "timing.queue"}),
    [](const auto& info) { return info.param.name; });

TEST(DecodeTest, PngsAreCounted) {
  auto request = TwoSamples();
  request.encoding = Encoding::kPng;
  auto events = Chain(2, 1);
  Last(&events)->add_pngs("a");
  EXPECT_THAT(std::string(Decode(request, events).message()),
              HasSubstr("result.pngs has 1 values, not 2"));
  Last(&events)->add_pngs("");
  EXPECT_THAT(std::string(Decode(request, events).message()), HasSubstr("empty"));
}

TEST(DecodeTest, TensorsOfTheWrongSize) {
  const auto decode = [](const std::vector<int64_t>& shape, size_t bytes,
                         v1::DataType dtype = v1::DATA_TYPE_FLOAT32) {
    v1::Tensor wire;
    wire.set_dtype(dtype);
    for (const int64_t extent : shape) wire.add_shape(extent);
    wire.set_data(std::string(bytes, '\0'));
    return DecodeTensor(wire, "x").status();
  };
  EXPECT_TRUE(decode({2, 3}, 24).ok());
  constexpr int64_t kHuge = int64_t{1} << 62;
  for (const auto& status :
       {decode({2, 3}, 20), decode({2, 3}, 28), decode({2, 3}, 25), decode({}, 4), decode({}, 0),
        decode({0}, 0), decode({2, -3}, 24), decode({-2, -3}, 24), decode({kHuge, 4}, 0),
        decode({kHuge, kHuge, 16}, 16), decode({2, 3}, 24, v1::DATA_TYPE_INT64),
        decode({2, 3}, 24, v1::DATA_TYPE_UNSPECIFIED)}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  }
}

TEST(DecodeTest, Models) {
  ASSERT_TRUE(DecodeModel(MakeModel("digits")).ok());
  const auto broken = [](const std::function<void(v1::Model*)>& alter) {
    auto wire = MakeModel("digits");
    alter(&wire);
    return DecodeModel(wire).status().code();
  };
  constexpr auto kDataLoss = absl::StatusCode::kDataLoss;
  EXPECT_EQ(broken([](v1::Model* m) { m->clear_name(); }), kDataLoss);
  EXPECT_EQ(broken([](v1::Model* m) { m->clear_sample_shape(); }), kDataLoss);
  EXPECT_EQ(broken([](v1::Model* m) { m->set_sample_shape(1, 0); }), kDataLoss);
  EXPECT_EQ(broken([](v1::Model* m) { m->set_sample_shape(1, int64_t{1} << 40); }), kDataLoss);
  EXPECT_EQ(broken([](v1::Model* m) { m->set_value_min(1); }), kDataLoss);
  EXPECT_EQ(broken([](v1::Model* m) { m->set_value_max(std::numeric_limits<float>::quiet_NaN()); }),
            kDataLoss);
  EXPECT_EQ(broken([](v1::Model* m) { m->set_num_train_timesteps(1000); }), kDataLoss);
  EXPECT_EQ(broken([](v1::Model* m) { m->add_inputs()->add_shape(0); }), kDataLoss);
  EXPECT_EQ(broken([](v1::Model* m) { m->add_inputs()->add_shape(-2); }), kDataLoss);
}

TEST(DecodeTest, TuningOfModels) {
  const auto wire = With(MakeModel("digits"), R"pb(
    numerics_id: "abc"
    tuning {
      executor: "torchscript"
      layout: "contiguous"
      precision: "float32"
      replicas: 1
      threads: 2
      batch_size: 16
      rows_per_second: 1747
      call_seconds: 0.009
      relative_error: 1e-7
    }
    tuning { chosen: true })pb");
  const auto model = DecodeModel(wire);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->numerics_id, "abc");
  ASSERT_EQ(model->tuning.size(), 2u);
  const TuningResult& first = model->tuning[0];
  EXPECT_EQ(first.executor, "torchscript");
  EXPECT_EQ(first.layout, "contiguous");
  EXPECT_EQ(first.precision, "float32");
  EXPECT_EQ(first.replicas, 1u);
  EXPECT_EQ(first.threads, 2u);
  EXPECT_EQ(first.batch_size, 16u);
  EXPECT_EQ(first.rows_per_second, 1747);
  EXPECT_EQ(first.call_seconds, 0.009);
  EXPECT_EQ(first.relative_error, 1e-7);
  EXPECT_FALSE(first.chosen);
  EXPECT_TRUE(model->tuning[1].chosen);
}

TEST(DecodeTest, DecodersOfModels) {
  EXPECT_FALSE(DecodeModel(MakeModel("digits"))->has_decoder);
  auto wire =
      With(MakeModel("digits"), "has_decoder: true decoded_shape: [3, 4, 6] decoded_value_max: 1");
  const auto model = DecodeModel(wire);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_TRUE(model->has_decoder);
  EXPECT_EQ(model->decoded_shape, (std::vector<int64_t>{3, 4, 6}));
  EXPECT_EQ(model->decoded_value_min, 0);
  EXPECT_EQ(model->decoded_value_max, 1);

  wire.set_decoded_value_max(0);
  EXPECT_EQ(DecodeModel(wire).status().code(), absl::StatusCode::kDataLoss);
  wire.set_decoded_value_max(1);
  wire.add_decoded_shape(1);
  EXPECT_EQ(DecodeModel(wire).status().code(), absl::StatusCode::kDataLoss);
}

TEST(DecodeTest, InputsOfModels) {
  const auto wire = With(MakeModel("digits"), R"pb(
    inputs {
      name: "text"
      kind: "condition"
      dtype: DATA_TYPE_FLOAT32
      shape: [ -1, 4 ]
    }
    inputs { dtype: DATA_TYPE_INT64 }
    inputs { dtype: DATA_TYPE_BOOL }
    inputs { dtype: 77 })pb");
  const auto model = DecodeModel(wire);
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_EQ(model->inputs.size(), 4u);
  EXPECT_EQ(model->inputs[0].name, "text");
  EXPECT_EQ(model->inputs[0].kind, "condition");
  EXPECT_THAT(model->inputs[0].shape, ElementsAre(-1, 4));
  EXPECT_STREQ(Name(model->inputs[0].dtype), "float32");
  EXPECT_STREQ(Name(model->inputs[1].dtype), "int64");
  EXPECT_STREQ(Name(model->inputs[2].dtype), "bool");
  EXPECT_EQ(model->inputs[3].dtype, DataType::kUnknown) << "of a newer server";
}

// Bytes that are no message at all, from a server that then says no more.
TEST(DecodeTest, BytesThatAreNoMessageEndTheCall) {
  for (const bool first : {true, false}) {
    FakeServer server;
    server.on_sample = [first](const v1::SampleRequest&) {
      Script script = Answer(Chain(1, 1));
      script.messages.resize(first ? 0 : 1);
      script.messages.push_back("\xff\xff\xff\xff");
      script.hold = true;
      return script;
    };
    auto client = Client::Connect(server.address());
    ASSERT_TRUE(client.ok());
    const auto status = client->SampleAndWait({}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    EXPECT_EQ(server.cancelled().wait_for(kPatience), std::future_status::ready);
  }
}

}  // namespace
}  // namespace denoise
