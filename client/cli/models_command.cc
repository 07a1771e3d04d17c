#include "client/cli/models_command.h"

#include "client/cli/describe_model.h"
#include "client/cli/exit_codes.h"

namespace denoise::cli {

void AddModelsFlags(CLI::App* app, ModelsFlags* flags) { AddCommonFlags(app, &flags->common); }

int RunModels(const ModelsFlags& flags, Client& client, Console& console) {
  const auto models = client.ListModels(flags.common.call_options());
  if (!models.ok()) return console.Fail(models.status());
  nlohmann::json list = nlohmann::json::array();
  for (const Model& model : *models) {
    list.push_back(ToJson(model));
    console.Say(Describe(model));
  }
  if (models->empty()) console.Say("no models are served");
  if (console.json) console.Write({{"models", list}});
  return EX_OK;
}

}  // namespace denoise::cli
