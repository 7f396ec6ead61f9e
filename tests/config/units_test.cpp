// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/units.hpp"

#include <gtest/gtest.h>

namespace dp {
namespace {

TEST(Duration, IsSecondsWithoutAUnit) {
    EXPECT_EQ(parse_duration("0"), 0U);
    EXPECT_EQ(parse_duration("432000"), 432'000U);
}

TEST(Duration, TakesEveryUnit) {
    EXPECT_EQ(parse_duration("120s"), 120U);
    EXPECT_EQ(parse_duration("2m"), 120U);
    EXPECT_EQ(parse_duration("12h"), 43'200U);
    EXPECT_EQ(parse_duration("5d"), 432'000U);
    EXPECT_EQ(parse_duration("1w"), 604'800U);
}

TEST(Duration, AddsUnitsInFallingOrder) {
    EXPECT_EQ(parse_duration("2h4m"), 7440U);
    EXPECT_EQ(parse_duration("1w1d1h1m1s"), 604'800U + 86'400 + 3'600 + 60 + 1);
}

TEST(Duration, IsNothingElse) {
    for (const char* text : {"", "s", "5 d", "5x", "-5s", "1m1h", "1h1h", "2h4", "1.5h", "5d ",
                             "0x10", "18446744073709551615w", "99999999999999999999"})
        EXPECT_FALSE(parse_duration(text)) << text;
}

TEST(Count, TakesPowersOfTwoAndOfTen) {
    EXPECT_EQ(parse_count("262144"), 262'144U);
    EXPECT_EQ(parse_count("256Ki"), 262'144U);
    EXPECT_EQ(parse_count("2Mi"), 2'097'152U);
    EXPECT_EQ(parse_count("1Gi"), 1'073'741'824U);
    EXPECT_EQ(parse_count("300k"), 300'000U);
    EXPECT_EQ(parse_count("2M"), 2'000'000U);
    EXPECT_EQ(parse_count("1G"), 1'000'000'000U);
}

TEST(Count, IsNothingElse) {
    for (const char* text :
         {"", "Ki", "256KiB", "256 Ki", "1T", "-1", "1.5Mi", "18446744073709551615Ki"})
        EXPECT_FALSE(parse_count(text)) << text;
}

TEST(Percent, IsAWholeNumberWithItsSign) {
    EXPECT_EQ(parse_percent("0%"), 0U);
    EXPECT_EQ(parse_percent("80%"), 80U);
    EXPECT_EQ(parse_percent("120%"), 120U);
    for (const char* text : {"", "%", "80", "80 %", "-1%", "1.5%", "80%%", "99999999999%"})
        EXPECT_FALSE(parse_percent(text)) << text;
}

TEST(Number, IsDecimalOrHexadecimal) {
    EXPECT_EQ(parse_number("255"), 255U);
    EXPECT_EQ(parse_number("0xff"), 255U);
    EXPECT_EQ(parse_number("0XfF"), 255U);
    for (const char* text :
         {"", "0x", "ff", "1 ", " 1", "+1", "-1", "0x-1", "18446744073709551616"})
        EXPECT_FALSE(parse_number(text)) << text;
}

}  // namespace
}  // namespace dp
