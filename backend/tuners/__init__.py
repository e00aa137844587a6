"""PEFT classes that PEFT lacks. Importing a file here registers its kind with PEFT, so that `PeftModel` can load it."""
