//===- Commands.h - The subcommands of lathe ----------------------------------------------------------===//
//
// One function a subcommand: it adds itself to the application with its options and examples, and leaves a
// callback that does the work. Each lives in a file of its own; Main.cpp calls them.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <CLI/CLI.hpp>

namespace lathe::tools {

/// Exit codes, the same for all commands; --help documents them.
enum ExitCode { ExitOk = 0, ExitVerification = 1, ExitUser = 2, ExitCompiler = 3, ExitDevice = 4 };

/// A command that finished but must not exit with 0 (verification failed): what it had to say is printed
/// already.
struct CommandFailed {
  ExitCode code;
};

void addTune(CLI::App &app);
void addCompile(CLI::App &app);
void addInspect(CLI::App &app);
void addVerify(CLI::App &app);
void addBench(CLI::App &app);
void addBenchMoe(CLI::App &bench);
void addCache(CLI::App &app);
void addEnv(CLI::App &app);

/// `lathe verify moe` and so on: the same for mixtures of experts. Their parents call them.
void addVerifyMoe(CLI::App &verify);
void addCompileMoe(CLI::App &compile);
void addInspectMoe(CLI::App &inspect);
void addTuneMoe(CLI::App &tune);

} // namespace lathe::tools
