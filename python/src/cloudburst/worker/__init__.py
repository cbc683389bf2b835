"""The Python process that runs functions: forked from a zygote, one invocation at a time, spoken to over one socket."""
