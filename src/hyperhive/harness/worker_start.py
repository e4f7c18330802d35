"""How the turn worker starts: importing the SDK is most of what a message to a dozing agent waits for."""

import gc
import sys


def main() -> int:
    gc.disable()  # imports make many objects and hardly any garbage: looking for it takes a seventh of the time
    from hyperhive.harness import worker

    gc.freeze()
    gc.enable()
    return worker.main()


if __name__ == "__main__":
    sys.exit(main())
