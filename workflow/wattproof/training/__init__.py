"""Networks, data sets, training loops and calibration loads."""
