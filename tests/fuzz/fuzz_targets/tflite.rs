#![no_main]

bitbudget_fuzz::target!("tflite");
