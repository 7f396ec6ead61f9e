// SPDX-License-Identifier: BSD-3-Clause
//
// The copy of ct/table/index.hpp that prepare.py makes.
#pragma once

#include <model_index.hpp>
