//===- Main.cpp - The lathe command -------------------------------------------------------------------===//
//
// Collects the subcommands, parses the command line and turns the three kinds of errors into one line on
// stderr and an exit code. It does no work itself.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Commands.h"

#include "lathe/support/Env.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <cstdio>

using namespace lathe;
using namespace lathe::tools;

static constexpr const char *footer = R"(Examples:
  lathe tune --model deepseek-v2-lite --batch 64 --lengths normal:4096:2048
  lathe tune moe --model deepseek-v2-lite --rows 1:4096
  lathe compile --model deepseek-v3 --tp 8 --target h100-sxm -o kernels/
  lathe inspect --model deepseek-v2-lite --target h100-sxm --emit ptx | less
  lathe inspect --model deepseek-v2-lite --run
  lathe verify --heads 16
  lathe bench mla --heads 16 --batch 128 --tokens 4096
  lathe compile moe --model deepseek-v2-lite --rows 64
  lathe COMMAND --help

Exit codes:
  0  done
  1  verification failed: a kernel computed something wrong, or the emulator found it breaking a rule
  2  the input cannot be served as given; the message says what to change
  3  the compiler failed; the message names a reproducer
  4  the driver or the GPU failed or is missing)";

/// One line, whatever the message was.
static int report(const std::string &message, ExitCode code) {
  std::string line = message;
  for (char &c : line)
    if (c == '\n')
      c = ' ';
  while (!line.empty() && line.back() == ' ')
    line.pop_back();
  fmt::print(stderr, "lathe: error: {}\n", line);
  return code;
}

static void addCommands(CLI::App &app) {
  app.footer(footer);
  app.set_version_flag("--version", "lathe " LATHE_VERSION);
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  addTune(app);
  addCompile(app);
  addInspect(app);
  addVerify(app);
  addBench(app);
  addCache(app);
  addEnv(app);
}

/// CLI11 only says that a subcommand is missing; name the word that is none.
static std::string commandLineError(const CLI::App &app, const CLI::ParseError &error, const char *first) {
  const bool known =
      !app.get_subcommands([&](const CLI::App *sub) { return first && sub->get_name() == first; }).empty();
  if (first && *first != '-' && !known)
    return fmt::format("command line: unknown command '{}'; run lathe --help", first);
  return fmt::format("command line: {}; run lathe --help", error.what());
}

int main(int argc, char **argv) {
  CLI::App app{"Lathe: compiles, tunes and serves attention and mixture-of-experts kernels for Hopper GPUs.",
               "lathe"};
  try {
    addCommands(app);
    checkEnvironment();
    app.parse(argc, argv);
    return ExitOk;
  } catch (const CommandFailed &failed) {
    return failed.code;
  } catch (const CLI::ParseError &error) {
    if (error.get_exit_code() == 0) // --help, --version
      return app.exit(error);
    return report(commandLineError(app, error, argc > 1 ? argv[1] : nullptr), ExitUser);
  } catch (const UserError &error) {
    return report(error.what(), ExitUser);
  } catch (const CompileError &error) {
    return report(error.what(), ExitCompiler);
  } catch (const DeviceError &error) {
    return report(error.what(), ExitDevice);
  } catch (const std::exception &error) {
    return report(std::string("internal error: ") + error.what(), ExitCompiler);
  }
}
