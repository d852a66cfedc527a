"""Scripts that make files of the repository; nothing at run time imports them."""
