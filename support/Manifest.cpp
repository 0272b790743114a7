#include "lathe/support/Manifest.h"

#include "lathe/support/ManifestJson.h"

using namespace lathe;
using nlohmann::json;

void lathe::to_json(json &result, const Manifest &manifest) {
  result = {{"version", manifest.version},
            {"family", manifest.family},
            {"description", manifest.description},
            {"arch", manifest.arch},
            {"heads", manifest.heads},
            {"queryTokens", manifest.queryTokens},
            {"keyDim", manifest.keyDim},
            {"valueDim", manifest.valueDim},
            {"page", manifest.page},
            {"config", manifest.config},
            {"kvTile", manifest.kvTile},
            {"rowBlocks", manifest.rowBlocks},
            {"splitPolicy", manifest.splitPolicy},
            {"fixedSplits", manifest.fixedSplits},
            {"combineColumns", manifest.combineColumns},
            {"tensorMaps", tensorMapsToJson(manifest.tensorMaps)},
            {"plan", kernelToJson(manifest.plan)},
            {"attend", kernelToJson(manifest.attend)},
            {"combine", kernelToJson(manifest.combine)},
            {"assembler", manifest.assembler}};
}

void lathe::from_json(const json &source, Manifest &manifest) {
  const ManifestReader reader(source, "");
  Manifest read;
  read.version = readManifestVersion(reader, Manifest::currentVersion);
  reader.field("family").get(read.family);
  reader.field("description").get(read.description);
  reader.field("arch").get(read.arch);
  reader.field("heads").get(read.heads);
  reader.field("queryTokens").get(read.queryTokens);
  reader.field("keyDim").get(read.keyDim);
  reader.field("valueDim").get(read.valueDim);
  reader.field("page").get(read.page);
  read.config = reader.field("config").value();
  reader.field("kvTile").get(read.kvTile);
  reader.field("rowBlocks").get(read.rowBlocks);
  reader.field("splitPolicy").get(read.splitPolicy);
  reader.field("fixedSplits").get(read.fixedSplits);
  reader.field("combineColumns").get(read.combineColumns);
  read.tensorMaps = readTensorMaps(reader.field("tensorMaps"));
  read.plan = readKernel(reader.field("plan"));
  read.attend = readKernel(reader.field("attend"));
  read.combine = readKernel(reader.field("combine"));
  reader.field("assembler").get(read.assembler);
  manifest = std::move(read);
}
