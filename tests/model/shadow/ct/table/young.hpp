// SPDX-License-Identifier: BSD-3-Clause
//
// The copy of ct/table/young.hpp that prepare.py makes.
#pragma once

#include <model_young.hpp>
