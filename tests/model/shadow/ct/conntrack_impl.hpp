// SPDX-License-Identifier: BSD-3-Clause
//
// The copy of ct/conntrack_impl.hpp that prepare.py makes.
#pragma once

#include <model_conntrack_impl.hpp>
