package executor

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"strings"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// logLineMax cuts a line that a worker prints past Python's own streams.
const logLineMax = 64 << 10

// running says what a worker runs, without holding on to its arguments.
type running struct {
	steps []wire.Step
	run   wire.RunID
}

// log passes on what user code printed through Python's own streams.
func (w *worker) log(log *pb.Log) {
	stream := "stdout"
	if log.GetStream() == pb.Stream_STREAM_STDERR {
		stream = "stderr"
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(log.GetText(), "\n"), "\n") {
		w.e.cfg.Logger.Info(line, "function", log.GetFunction(), "version", log.GetVersion(),
			"run", hex.EncodeToString(log.GetRunId()), "worker", w.number, "stream", stream)
	}
}

// readLogs passes on what the process and its children write past Python's own streams.
func (w *worker) readLogs() {
	defer w.logs.Close()
	lines := bufio.NewReaderSize(w.logs, logLineMax)
	for {
		line, err := lines.ReadSlice('\n')
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
			attributes := []any{"worker", w.number, "stream", "process"}
			if r := w.running.Load(); r != nil {
				attributes = append(attributes, "functions", stepNames(r.steps), "run", r.run.String())
			}
			w.e.cfg.Logger.Info(string(line), attributes...)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}
