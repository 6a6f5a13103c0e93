package httpsource

import (
	"embed"
	"path"
	"strings"
	"sync"
)

// Preset is an issuer whose description comes with the package.
type Preset struct {
	Name   string // what a configuration file calls it
	Issuer *Issuer
}

// presetFiles has one description for each preset, PRESET.json.
//
//go:embed presets/*.json
var presetFiles embed.FS

// Presets returns the issuers whose descriptions come with the package, sorted by
// name. They must not be changed.
func Presets() []Preset { return loadPresets() }

// PresetNamed returns one of Presets.
func PresetNamed(name string) (Preset, bool) {
	for _, p := range loadPresets() {
		if p.Name == name {
			return p, true
		}
	}
	return Preset{}, false
}

// loadPresets decodes the files once. They are part of the program: a wrong one is a
// mistake in the program, which its tests find.
var loadPresets = sync.OnceValue(func() []Preset {
	entries, err := presetFiles.ReadDir("presets")
	if err != nil {
		panic(err)
	}
	var presets []Preset
	for _, entry := range entries { // sorted by name
		data, err := presetFiles.ReadFile(path.Join("presets", entry.Name()))
		if err != nil {
			panic(err)
		}
		issuer, err := DecodeIssuer(data)
		if err != nil {
			panic(entry.Name() + ": " + err.Error())
		}
		presets = append(presets, Preset{strings.TrimSuffix(entry.Name(), ".json"), issuer})
	}
	return presets
})
