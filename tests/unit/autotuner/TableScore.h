//===- TableScore.h - How well a cost model does over a committed table --------------------------------===//
//
// Counts, configuration by configuration and row by row, how far predicted times are off and how much time is
// lost by who takes what the model likes best of a row's configurations.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>

namespace lathe::test {

class TableScore {
public:
  /// `furthest`: a prediction may be off by this factor.
  explicit TableScore(double furthest) : furthest_(furthest) {}

  void add(const std::string &row, double predicted, double measured, const std::string &config) {
    const double error = std::abs(std::log(predicted / measured));
    EXPECT_LT(error, std::log(furthest_))
        << row << ": " << predicted << " for " << measured << " µs, " << config;
    errors_ += error;
    ++configs_;
    best_ = std::min(best_, measured);
    if (predicted < likes_)
      likes_ = predicted, takes_ = measured;
  }
  void endRow(const std::string &row) {
    EXPECT_LT(takes_ / best_ - 1, 0.2) << row << ": chooses what takes " << takes_ << " µs, best " << best_;
    losses_ += takes_ / best_ - 1;
    ++rows_;
    likes_ = takes_ = best_ = INFINITY;
  }
  /// Means below these, of more than `rows` rows.
  void expect(int rows, double error, double loss) const {
    ASSERT_GT(rows_, rows);
    std::printf("%d configurations, off by %.1f %% in the mean; %d choices, slower by %.1f %%\n", configs_,
                100 * errors_ / configs_, rows_, 100 * losses_ / rows_);
    EXPECT_LT(errors_ / configs_, error);
    EXPECT_LT(losses_ / rows_, loss);
  }

private:
  double furthest_, errors_ = 0, losses_ = 0;
  int configs_ = 0, rows_ = 0;
  double likes_ = INFINITY, takes_ = INFINITY, best_ = INFINITY; ///< Of the row.
};

} // namespace lathe::test
