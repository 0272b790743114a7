#include "lathe/support/MoeManifest.h"

#include "lathe/support/Error.h"
#include "lathe/support/ManifestJson.h"

#include <array>
#include <utility>

using namespace lathe;
using nlohmann::json;

static constexpr std::array<std::pair<const char *, int MoeManifest::*>, 15> numbers{
    {{"routedExperts", &MoeManifest::routedExperts},
     {"experts", &MoeManifest::experts},
     {"topK", &MoeManifest::topK},
     {"hidden", &MoeManifest::hidden},
     {"intermediate", &MoeManifest::intermediate},
     {"halves", &MoeManifest::halves},
     {"shared", &MoeManifest::shared},
     {"slotTile", &MoeManifest::slotTile},
     {"tokenTile", &MoeManifest::tokenTile},
     {"ctasPerSm", &MoeManifest::ctasPerSm},
     {"gateRows", &MoeManifest::gateRows},
     {"gateExperts", &MoeManifest::gateExperts},
     {"routeRows", &MoeManifest::routeRows},
     {"routeBlocks", &MoeManifest::routeBlocks},
     {"routeScratchWords", &MoeManifest::routeScratchWords}}};
static constexpr std::array<std::pair<const char *, std::string MoeManifest::*>, 7> texts{
    {{"family", &MoeManifest::family},
     {"description", &MoeManifest::description},
     {"arch", &MoeManifest::arch},
     {"router", &MoeManifest::router},
     {"logits", &MoeManifest::logits},
     {"gate", &MoeManifest::gate},
     {"assembler", &MoeManifest::assembler}}};
static constexpr std::array<std::pair<const char *, bool MoeManifest::*>, 5> flags{
    {{"bias", &MoeManifest::bias},
     {"offset", &MoeManifest::offset},
     {"permute", &MoeManifest::permute},
     {"atomic", &MoeManifest::atomic},
     {"oneLaunch", &MoeManifest::oneLaunch}}};
static constexpr std::array<std::pair<const char *, KernelEntry MoeManifest::*>, 7> kernels{
    {{"gateKernel", &MoeManifest::gateKernel},
     {"permuteKernel", &MoeManifest::permuteKernel},
     {"expertsKernel", &MoeManifest::expertsKernel},
     {"route", &MoeManifest::route},
     {"up", &MoeManifest::up},
     {"down", &MoeManifest::down},
     {"combine", &MoeManifest::combine}}};

void lathe::to_json(json &result, const MoeManifest &manifest) {
  result = {{"version", manifest.version},
            {"config", manifest.config},
            {"tensorMaps", tensorMapsToJson(manifest.tensorMaps)}};
  for (const auto &[name, member] : numbers)
    result[name] = manifest.*member;
  for (const auto &[name, member] : texts)
    result[name] = manifest.*member;
  for (const auto &[name, member] : flags)
    result[name] = manifest.*member;
  for (const auto &[name, member] : kernels)
    result[name] = kernelToJson(manifest.*member);
}

void lathe::from_json(const json &source, MoeManifest &manifest) {
  const ManifestReader reader(source, "");
  MoeManifest read;
  // The family first: another's version says nothing of ours.
  reader.field("family").get(read.family);
  if (read.family != "moe")
    throw UserError(
        {"manifest", "family must be moe", read.family, "load it with the runtime of its family"});
  read.version = readManifestVersion(reader, MoeManifest::currentVersion);
  read.config = reader.field("config").value();
  read.tensorMaps = readTensorMaps(reader.field("tensorMaps"));
  for (const auto &[name, member] : numbers)
    reader.field(name).get(read.*member);
  for (const auto &[name, member] : texts)
    reader.field(name).get(read.*member);
  for (const auto &[name, member] : flags)
    reader.field(name).get(read.*member);
  for (const auto &[name, member] : kernels)
    read.*member = readKernel(reader.field(name));
  manifest = std::move(read);
}
