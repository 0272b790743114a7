//===- PeerTest.cpp - Opening other people's libraries -------------------------------------------------===//
//
// A whole library, one without a function, one of another version, none at all; and what its answers become.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/tools/lathe/Peer.h"

#include "lathe/tests/unit/support/Helpers.h"
#include "lathe/tests/unit/tools/FakeLibrary.h"

using namespace lathe;
using namespace lathe::tools;
using test::contains;
using test::FakeLibrary;
using test::userErrorOf;

static std::string path(const char *form) { return FakeLibrary::path(form); }

TEST(Peer, OpensAWholeLibrary) {
  const PeerLibrary library("fake", path("whole"));
  EXPECT_EQ(library.name(), "fake");
}

TEST(Peer, SaysWhatIsMissing) {
  const auto message = [](const std::string &file) {
    return userErrorOf([&] { PeerLibrary("fake", file); });
  };
  EXPECT_TRUE(contains(message(path("without_run")), "no lathe_peer_run in"));
  EXPECT_TRUE(contains(message(path("other_version")), "version 1"));
  EXPECT_TRUE(contains(message(path("other_version")), "version 99"));
  EXPECT_TRUE(contains(message("nowhere.so"), "peer fake"));
  EXPECT_TRUE(contains(message("nowhere.so"), "nowhere.so"));
}

TEST(Peer, NamesOfTheCommandLine) {
  const std::string file = path("whole");
  EXPECT_EQ(openPeers({"a=" + file, "b.2_c-d=" + file}).size(), 2u);
  EXPECT_TRUE(openPeers({}).empty());
  for (const std::string &text : {file, "=" + file, std::string("a="), "a b=" + file})
    EXPECT_TRUE(contains(userErrorOf([&] { openPeers({text}); }), "NAME=library.so")) << text;
  EXPECT_TRUE(contains(userErrorOf([&] { openPeers({"a=" + file, "a=" + file}); }), "name of its own"));
}

TEST(Peer, KeepsARefusal) {
  FakeLibrary fake;
  fake.behave(FAKE_REFUSES);
  const PeerLibrary library("fake", path("whole"));
  {
    const Peer peer(library, {});
    EXPECT_EQ(peer.refusal(), "no kernel for so many heads");
    EXPECT_EQ(fake.living(), 1);
  }
  EXPECT_EQ(fake.living(), 0);
}

TEST(Peer, AFailureIsAnErrorThatNamesIt) {
  FakeLibrary fake;
  fake.behave(FAKE_FAILS);
  const PeerLibrary library("fake", path("whole"));
  try {
    const Peer peer(library, {});
    FAIL() << "no error";
  } catch (const DeviceError &error) {
    EXPECT_TRUE(contains(error.what(), "peer fake: create failed"));
    EXPECT_TRUE(contains(error.what(), "the toolkit is too old"));
  }
  EXPECT_EQ(fake.living(), 0);
  fake.behave(FAKE_RIGHT, /*lseOrder=*/7);
  EXPECT_TRUE(contains(userErrorOf([&] { const Peer peer(library, {}); }), "log-sum-exp"));
  EXPECT_EQ(fake.living(), 0);
}
