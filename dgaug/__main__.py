"""`python -m dgaug`, also under torchrun."""

from dgaug_cli.main import main

if __name__ == "__main__":
    main()
