// SPDX-License-Identifier: BSD-3-Clause
// What every driver hands to the tests beside its launchers: the schedule to be emulated, and what
// was found wrong. Included last, by drivers alone.
#pragma once

extern "C" {

void emulate(int copies_land_late, int order) {
  auto& settings = blurops::emulation::settings();
  settings.copies_land_late = copies_land_late != 0;
  settings.order = static_cast<blurops::emulation::Order>(order);
  settings.report.clear();
}

const char* report() { return blurops::emulation::settings().report.c_str(); }

}  // extern "C"
